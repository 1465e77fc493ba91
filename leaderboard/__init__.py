"""File: the one definition of a result, and the board that collects results."""
