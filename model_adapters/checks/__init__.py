"""Prove that a model is understood, and draft a card for one that has none."""
