"""Probe fits, all layers at once: the names to import from here (torch)."""

from probes.fit_linear import STRENGTHS, LinearProbes, NotConverged, fit_linear
from probes.fit_paper import FAST, PUBLISHED, PaperProbes, PaperRecipe, fit_paper

__all__ = [
    "FAST",
    "PUBLISHED",
    "STRENGTHS",
    "LinearProbes",
    "NotConverged",
    "PaperProbes",
    "PaperRecipe",
    "fit_linear",
    "fit_paper",
]
