"""The Feature Health Scores of a study's models: vision, connector, language model, and the accuracy at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report.drawing import BLACK, BLUE, GREEN, GREY, ORANGE, PALE, PURPLE, SKY, VERMILLION, style
from harness.study.figure_parts import (
    CONDITIONS,
    LIGHT,
    SMALL,
    TINY,
    WIDTH,
    Look,
    add_foot,
    conditions_of,
    fitted,
    is_reference,
    models_of,
    tasks_of,
)
from leaderboard.record.record import Condition, Record

PLACES = ("FHS_V", "FHS_C", "FHS_L", "P_final")
# Okabe and Ito's yellow cannot be seen on white; with more models than these, each has a row of its own.
_LOOKS = (
    *((BLUE, "o"), (VERMILLION, "s"), (GREEN, "D"), (PURPLE, "^"), (ORANGE, "v"), (SKY, "P"), (BLACK, "X")),
)
_ACROSS = 3  # panels side by side
_PANEL, _HEAD = 2.1, 0.5  # inches: a panel that all models share, and what stands above and below it
_ROW, _COLUMN = 0.62, 1.4  # inches: a panel of one model
_SLOT = 0.045  # inches: what a point needs at least, so that no other covers it
_SPREAD = 0.76  # of the distance between two places, over which the points of one place are dodged
NOISE = "noise-limited: not to be ranked"
NOTES = (
    "Bars: 95% intervals. FHS is not bounded by 0 and 1, and not comparable across numbers of classes.",
    "V: vision encoder, C: connector, L: language model. P_final: headline accuracy, as a share.",
)

_Points = Sequence["_Point"]


@dataclass(frozen=True)
class _Point:
    """A value with its interval; `noisy` says that what the layers differ by may be noise alone."""

    value: float
    low: float
    high: float
    noisy: bool


def health_figure(records: Sequence[Record]) -> Figure | None:
    """Return the health profile of every model that has one, with 95% intervals; None without any.

    Up to seven models share a panel a task; more stand in a row of small panels each, a column a task.
    """
    held = [r for r in records if r.health is not None and r.answers is not None and not is_reference(r)]
    if not held:
        return None
    with style():
        return _draw_shared(held) if len(models_of(held)) <= len(_LOOKS) else _draw_rows(held)


def profile(record: Record) -> list[_Point]:
    """Return the four values of a record that has them, in the order of `PLACES`."""
    assert record.health is not None
    assert record.answers is not None
    parts = (record.health.vision, record.health.connector, record.health.llm)
    final = record.answers.accuracy
    scores = [_Point(part.fhs, part.low, part.high, part.noise_limited) for part in parts]
    return [*scores, _Point(final.value, final.low, final.high, False)]


def _draw_shared(records: Sequence[Record]) -> Figure:
    models, tasks = models_of(records), tasks_of(records)
    looks = {m: Look(*look, fitted(m, 44, 1)) for m, look in zip(models, _LOOKS, strict=False)}
    places = _dodged([(model, c) for model in models for c in conditions_of(records)])
    needed = 0.6 + _SLOT * len(PLACES) * len(places) / _SPREAD
    across = max(1, min(_ACROSS, len(tasks), int(WIDTH / needed)))
    down = -(-len(tasks) // across)
    width = WIDTH if across > 1 else 5.0
    figure = Figure(figsize=(width, down * (_PANEL + _HEAD)), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for number, (panel, task) in enumerate(zip(panels, tasks, strict=False)):
        same = [record for record in records if record.task.name == task]
        for record in same:
            _draw_profile(
                panel, record, looks[record.model.name], places[record.model.name, record.condition]
            )
        _dress(panel)
        panel.set_title(_title(same), fontsize=SMALL)
        if number % across == 0:
            panel.set_ylabel("Feature Health Score", fontsize=SMALL)
    for panel in panels[len(tasks) :]:
        panel.remove()
    add_foot(figure, [*(look.handle() for look in looks.values()), *_condition_handles(records)], NOTES)
    return figure


def _draw_rows(records: Sequence[Record]) -> Figure:
    models, tasks = models_of(records), tasks_of(records)
    places = _dodged([("", condition) for condition in conditions_of(records)])
    by_cell = {(r.model.name, r.task.name, r.condition): r for r in records}
    width = max(WIDTH, 1.9 + _COLUMN * len(tasks))
    figure = Figure(figsize=(width, _ROW * len(models) + _HEAD), layout="constrained")
    grid = figure.subplots(len(models), len(tasks), sharex=True, sharey="col", squeeze=False)
    for row, model in enumerate(models):
        for column, task in enumerate(tasks):
            panel = grid[row][column]
            cells = [by_cell.get((model, task, condition)) for condition in conditions_of(records)]
            for record in filter(None, cells):
                look = replace(CONDITIONS[record.condition], marker="o")
                _draw_profile(panel, record, look, places["", record.condition])
            _dress(panel)
            if not any(cells):
                _say_not_measured(panel)
        grid[row][0].set_ylabel(fitted(model, 26), fontsize=TINY, rotation=0, ha="right", va="center")
    for column, task in enumerate(tasks):
        grid[0][column].set_title(_title([r for r in records if r.task.name == task]), fontsize=SMALL)
    name = figure.supylabel("Feature Health Score", fontsize=SMALL)
    name.set_y(add_foot(figure, _condition_handles(records, coloured=True), NOTES))
    return figure


def _dodged(series: Sequence[tuple[str, Condition]]) -> Mapping[tuple[str, Condition], float]:
    """Return how far beside a place each series stands, the first on the left."""
    step = _SPREAD / len(series)
    return {one: step * (i - (len(series) - 1) / 2) for i, one in enumerate(series)}


def _draw_profile(axes: Axes, record: Record, look: Look, beside: float) -> None:
    for place, point in enumerate(profile(record)):
        colour = GREY if point.noisy else look.colour
        axes.errorbar(
            [place + beside],
            [point.value],
            yerr=[[max(point.value - point.low, 0.0)], [max(point.high - point.value, 0.0)]],
            color=colour,
            marker=look.marker,
            markersize=4,
            markerfacecolor=_fill(record.condition, colour),
            markeredgewidth=1.1,
            linestyle="none",
            elinewidth=1.0,
            capsize=1.5,
        )


def _fill(condition: Condition, colour: str) -> str:
    """Return what a marker is filled with: only a fine-tuned model's is open."""
    return colour if condition == "released" else "white"


def _dress(axes: Axes) -> None:
    axes.set_xticks(range(len(PLACES)), PLACES)
    axes.set_xlim(-0.5, len(PLACES) - 0.5)
    for place in range(1, len(PLACES)):
        last = place == len(PLACES) - 1  # an accuracy beside three scores
        axes.axvline(place - 0.5, color=GREY if last else PALE, linewidth=0.8, zorder=0)
    axes.tick_params(labelsize=TINY, axis="both")
    axes.tick_params(axis="x", length=0)
    axes.locator_params(axis="y", nbins=4)
    axes.grid(axis="y", color=PALE, linewidth=0.5)


def _say_not_measured(axes: Axes) -> None:
    where: dict[str, Any] = {"ha": "center", "va": "center", "transform": axes.transAxes}
    axes.text(0.5, 0.5, "not measured", fontsize=TINY, color=LIGHT, **where)


def _title(records: Sequence[Record]) -> str:
    task = records[0].task
    return f"{fitted(task.name, 22)}\n{len(task.classes)} classes"


def _condition_handles(records: Sequence[Record], *, coloured: bool = False) -> list[Line2D]:
    """Explain how conditions are told apart, and what grey means where something is grey."""
    handles = []
    for condition in conditions_of(records):
        look = CONDITIONS[condition]
        colour = look.colour if coloured else GREY
        fill = _fill(condition, colour) if coloured else _fill(condition, BLACK)
        edge = colour if coloured else BLACK
        handles.append(look.handle(marker="o", color=edge, markerfacecolor=fill))
    if any(point.noisy for record in records for point in profile(record)):
        handles.append(Look(GREY, "o", f"grey, {NOISE}").handle())
    return handles
