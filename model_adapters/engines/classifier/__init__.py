"""Image classifiers that learn a task from its training images, and R, the reference of every verdict."""
