"""Fetch published data into the cache."""
