"""The OpenAI-compatible engine: a model behind a server."""
