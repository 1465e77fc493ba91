"""Check what is handed in as if nobody could be trusted."""
