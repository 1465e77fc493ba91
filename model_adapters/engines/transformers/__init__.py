"""The transformers engine: any image-and-text model, answered and watched in one forward pass."""
