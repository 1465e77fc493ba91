"""The engines, one folder each, all behind `model_adapters.interface`."""
