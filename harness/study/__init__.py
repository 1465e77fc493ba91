"""A study: models x tasks x conditions as one sweep that can be resumed, with its tables and figures."""
