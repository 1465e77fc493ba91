"""Fine-tune a model, and build the models of the zoo."""
