"""Train the built-in models, and what planting a fault needs of that."""
