"""Change a model from inside, or run a part of it alone."""
