"""Ask a model about images, batch by batch, into a store that survives being killed."""
