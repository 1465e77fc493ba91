"""Conduct: the command line, data, prompts, the run itself and its report."""

__version__ = "0.1.0"
