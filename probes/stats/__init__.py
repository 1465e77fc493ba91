"""Statistics of answers: metrics, intervals, tests, similarity. Without torch."""
