"""The detection limit as a picture: which planted faults were named right, by how far answers dropped."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from tools.faultbench.results import Result, latest
from tools.faultbench.scoring import STAGES, answer_drops, detection_limit, fit_logistic, outcome, said

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by colour-blind readers, and the markers and lines differ as well.
COLOURS = dict(zip(STAGES, ("#0072B2", "#009E73", "#D55E00", "#CC79A7"), strict=True))
_MARKERS = dict(zip(STAGES, "oDs^", strict=True))
_LINES = dict(zip(STAGES, ((0, (1, 1)), (0, (4, 1.5)), (0, (6, 2, 1, 2)), (0, (8, 3))), strict=True))
_HEIGHT = {"right": 1.0, "undetermined": 0.5, "wrong": 0.0}
_SPREAD = 0.07  # height over which points of one outcome are strewn


def detection_svg(results: Iterable[Result]) -> str | None:
    """Return the picture of `draw` as SVG text, the same for the same results."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure = draw(results)
    if figure is None:
        return None
    with mpl.rc_context({"svg.hashsalt": "faultbench", "svg.fonttype": "path"}):
        stream = io.StringIO()
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})
    svg = stream.getvalue()
    return svg[svg.index("<svg") :]


def draw(results: Iterable[Result]) -> Figure | None:
    """Draw outcomes and P(right) over the drop of the answers, reported seeds alone.

    Returns None where no fault with a known drop was judged.
    """
    from matplotlib.figure import Figure

    every = [r for r in latest(results) if r.case.reported]
    drops = answer_drops(every)
    faults = [r for r in every if r.case.role == "fault" and r.case.name in drops]
    faults = [r for r in faults if r.case.expected[0] in STAGES]
    if not faults:
        return None
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    rng = np.random.default_rng(0)
    grid = np.linspace(min(0.0, min(drops[r.case.name] for r in faults)), max(drops.values()), 200)
    for stage in STAGES:
        own = [r for r in faults if r.case.expected[0] == stage]
        x = np.array([drops[r.case.name] for r in own])
        found = [outcome(r.case, said(r)) for r in own]
        y = np.array([_HEIGHT[o] for o in found]) + rng.uniform(-_SPREAD, _SPREAD, len(own))
        axes.scatter(
            x, y, s=26, marker=_MARKERS[stage], color=COLOURS[stage], alpha=0.75, linewidths=0,
            label=f"{stage} ({len(own)})",
        )  # fmt: skip
        curve = fit_logistic(x, np.array(found) == "right") if own else None
        if curve is not None:
            axes.plot(
                grid, curve.probability(grid), color=COLOURS[stage], linestyle=_LINES[stage], linewidth=1.4
            )
    limit = detection_limit(every, drops, draws=1)
    if limit is not None:
        axes.plot(grid, limit.curve.probability(grid), color="#000000", linewidth=2, label="all stages")
    axes.set_yticks([0, 0.5, 1], ["wrong\n0%", "undetermined\n50%", "right\n100%"])
    axes.set_ylim(-0.12, 1.12)
    axes.set_xlabel("answers worse than the healthy model's by, points of accuracy")
    axes.set_ylabel("points: outcome; lines: share named right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        title="planted fault", fontsize=8, title_fontsize=8, frameon=False, loc="outside right upper"
    )
    return figure
