"""Faults planted into trained built-in models: what there is, and how each is planted and dosed."""
