"""Decide what will run, and with what settings, before anything is loaded."""
