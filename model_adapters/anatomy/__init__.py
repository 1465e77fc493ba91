"""Where a model has its vision blocks, its connector and its decoder layers."""
