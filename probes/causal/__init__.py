"""What the answers depend on: erasing and exchanging hidden states, and how much that moves them."""
