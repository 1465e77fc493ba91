"""Compare result folders, and write down what was found. Imports no torch."""
