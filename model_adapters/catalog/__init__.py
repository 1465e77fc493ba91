"""Which models there are and what exactly each is. Nothing here imports torch."""
