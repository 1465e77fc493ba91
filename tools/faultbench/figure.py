"""The detection limit as a picture: which planted faults were named right, by how far answers dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from leaderboard.figures import svg
from leaderboard.figures.svg import Axes, Drawing, Figure, Scale
from tools.faultbench.results import Result, latest
from tools.faultbench.scoring import (
    STAGES,
    Logistic,
    Outcome,
    answer_drops,
    detection_limit,
    fit_logistic,
    outcome,
    said,
)

Point = tuple[str, float, Outcome]  # of a fault: what the mark says, the drop in points, and what came out

_KINDS = dict(zip(STAGES, ("vision-mean", "connector-mean", "llm-last", "llm-mean"), strict=True))
_HEIGHT = {"right": 100.0, "undetermined": 50.0, "wrong": 0.0}
_SPREAD = 7.0  # height over which points of one outcome are strewn
_SIZE = (740.0, 400.0)


def detection_svg(results: Iterable[Result]) -> str | None:
    """Return outcomes and P(right) over the drop of the answers, reported seeds alone.

    The same results give the same text; None where no fault with a known drop was judged.
    """
    every = [r for r in latest(results) if r.case.reported]
    drops = answer_drops(every)
    faults = [r for r in every if r.case.role == "fault" and r.case.name in drops]
    points: dict[str, list[Point]] = {
        stage: [
            (r.case.name, drops[r.case.name], outcome(r.case, said(r)))
            for r in faults
            if r.case.expected[0] == stage
        ]
        for stage in STAGES
    }
    if not any(points.values()):
        return None
    limit = detection_limit(every, drops, draws=1)
    return detection_figure(points, limit.curve if limit else None).standalone()


def detection_figure(points: Mapping[str, Sequence[Point]], overall: Logistic | None) -> Figure:
    """Return the picture of these faults by stage, with the curve over all of them."""
    shown = [drop for held in points.values() for _, drop, _ in held]
    grid = np.linspace(min(0.0, *shown), max(shown), 100)
    x = Scale(float(grid[0]) - 1, float(grid[-1]) + 1, 130, _SIZE[0] - 8)
    axes = Axes(x, Scale(-12, 112, _SIZE[1] - 40, 24))
    drawn = axes.grid(50)
    for name, level in _HEIGHT.items():
        drawn += svg.text(name, x.start - 40, axes.y.at(level) + 3.5, text_anchor="end")
    for tick in x.ticks(10):
        drawn += svg.text(svg.tick(tick), x.at(tick), axes.y.start + 14, text_anchor="middle")
    name = "answers worse than the healthy model's by, points of accuracy"
    drawn += svg.text(name, (x.start + x.end) / 2, axes.y.start + 32, text_anchor="middle", class_="soft")
    rng = np.random.default_rng(0)
    for stage, held in points.items():
        beside = rng.uniform(-_SPREAD, _SPREAD, len(held))
        curve = fit_logistic(
            np.array([drop for _, drop, _ in held]), np.array([found == "right" for *_, found in held])
        )
        drawn += _line(axes, grid, curve, f"line {_KINDS[stage]}") if held else ""
        for (case, drop, found), aside in zip(held, beside, strict=True):
            dot = svg.dot(_KINDS[stage], x.at(drop), axes.y.at(_HEIGHT[found] + float(aside)))
            drawn += svg.mark(dot, f"{case}: {drop:.1f} points, {found}")
    drawn += _line(axes, grid, overall, "ceiling")
    legend = [(_KINDS[stage], f"{stage} ({len(held)})") for stage, held in points.items()]
    return Figure(
        "Which planted faults are named right, by how far the answers dropped",
        "Points: outcome of a fault; lines: share named right.",
        Drawing(*_SIZE, drawn),
        None,
        (*legend, *([("ceiling", "all stages")] if overall else [])),
        ("Points: outcome of a planted fault, strewn a little; lines: share named right.",),
    )


def _line(axes: Axes, grid: np.ndarray, curve: Logistic | None, kind: str) -> str:
    if curve is None:
        return ""
    shares = curve.probability(grid)
    spots = zip(map(axes.x.at, grid.tolist()), map(axes.height, shares.tolist()), strict=True)
    return svg.path(svg.polyline(spots), kind)
