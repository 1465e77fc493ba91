"""The vLLM engine: fast answers of large models."""
