"""Fine-tune a model on one task's images: low-rank adapters, and what is trained in full beside them."""
