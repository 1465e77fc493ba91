"""Compare results: two of one task for a gate, many for a study."""
