"""The built-in models: tiny but genuine multimodal models in the ordinary Hugging Face format."""
