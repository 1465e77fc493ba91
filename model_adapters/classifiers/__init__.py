"""Image classifiers trained on a task's own images: the traditional references of the board."""
