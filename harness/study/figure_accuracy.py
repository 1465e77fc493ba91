"""How often every model of a study is right: one panel a task, one row a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report.drawing import BLACK, GREY, PALE, errors, reach, style
from harness.study.figure_parts import (
    CONDITIONS,
    LIGHT,
    REFERENCE,
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
from leaderboard.record.record import AnswersPart, Record

_Key = tuple[str, str]  # task and model
_ACROSS = 3  # panels side by side
_ROW, _HEAD = 0.29, 0.75  # inches: a row of a panel, and what stands above and below the rows
_OFFSET = 0.17  # of a row, between its middle and a condition's point
_MAJORITY: dict[str, Any] = {"color": BLACK, "linestyle": (0, (5, 3)), "linewidth": 1.0}
UNOFFICIAL = "* The images are not byte for byte the published ones."
SEEN = "+ The model is known to have been trained on this task's images."


def accuracy_figure(records: Sequence[Record]) -> Figure | None:
    """Return the headline accuracy in percent of every model on every task with 95% intervals.

    The classifiers trained on the task itself stand below a thin line. None without any answers.
    """
    answered = [record for record in records if record.answers is not None]
    if not answered:
        return None
    models = models_of([record for record in answered if not is_reference(record)])
    references = models_of([record for record in answered if is_reference(record)])
    rows = {name: row for row, name in enumerate([*models, *references])}
    with style():
        return _draw(answered, rows, len(models))


def _draw(records: Sequence[Record], rows: Mapping[str, int], models: int) -> Figure:
    tasks = tasks_of(records)
    across = min(_ACROSS, len(tasks))
    down = -(-len(tasks) // across)
    width = WIDTH if across > 1 else 5.0
    figure = Figure(figsize=(width, down * (_HEAD + _ROW * len(rows))), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flatten()
    for panel, task in zip(panels, tasks, strict=False):
        _draw_panel(panel, [record for record in records if record.task.name == task], rows, models)
    for panel in panels[len(tasks) :]:
        panel.remove()
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    panels[0].set_yticks(list(rows.values()), [fitted(name, 26) for name in rows])
    for label in (label for panel in panels[: len(tasks)] for label in panel.get_yticklabels()):
        label.set(fontsize=TINY, linespacing=1.0)
    panels[0].set_xlim(*reach(_ends(records), 4))
    add_foot(figure, _handles(records), _notes(records))
    return figure


def _draw_panel(axes: Axes, records: Sequence[Record], rows: Mapping[str, int], models: int) -> None:
    for record in records:
        answers = record.answers
        assert answers is not None
        row = rows[record.model.name]
        _draw_point(axes, answers, row + _offset(record, records), _look(record))
        if record.model.seen_in_training:
            axes.annotate("+", (1.015, row), xycoords=axes.get_yaxis_transform(), va="center", fontsize=SMALL)
    for majority in sorted({100 * r.answers.majority_accuracy for r in records if r.answers}):
        axes.axvline(majority, **_MAJORITY, zorder=1)
    for name, row in rows.items():
        if name not in {record.model.name for record in records}:
            place = (0.5, row)
            axes.annotate(
                "no result",
                place,
                xycoords=axes.get_yaxis_transform(),
                ha="center",
                va="center",
                fontsize=TINY,
                color=LIGHT,
            )
    if 0 < models < len(rows):
        axes.axhline(models - 0.5, color=GREY, linewidth=0.6)
    axes.set_title(_title(records), fontsize=SMALL)
    axes.set_xlabel("headline accuracy (%)", fontsize=SMALL)
    axes.tick_params(axis="x", labelsize=TINY, labelbottom=True)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="both", color=PALE, linewidth=0.5)


def _draw_point(axes: Axes, answers: AnswersPart, row: float, look: Look) -> None:
    axes.errorbar(
        [100 * answers.accuracy.value],
        [row],
        xerr=errors([answers.accuracy]),
        color=look.colour,
        marker=look.marker,
        markersize=4.5,
        linestyle="none",
        elinewidth=1.1,
        capsize=2,
    )


def _look(record: Record) -> Look:
    return REFERENCE if is_reference(record) else CONDITIONS[record.condition]


def _offset(record: Record, records: Sequence[Record]) -> float:
    """Return how far from its row's middle a point stands, so that no condition covers another."""
    held = conditions_of([other for other in records if not is_reference(other)])
    if is_reference(record) or len(held) == 1:
        return 0.0
    return -_OFFSET if record.condition == "released" else _OFFSET


def _title(records: Sequence[Record]) -> str:
    """Name the task, with its number of classes and test images."""
    task = records[0].task
    mark = "" if all(record.task.official_data for record in records) else "*"
    sizes = sorted({record.answers.accuracy.n for record in records if record.answers})
    images = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return f"{fitted(task.name, 24)}{mark}\n{len(task.classes)} classes, n = {images}"


def _ends(records: Sequence[Record]) -> list[float]:
    """Return everything in percent that the axis has to hold."""
    answers = [record.answers for record in records if record.answers is not None]
    held = [(a.accuracy.value, a.accuracy.low, a.accuracy.high, a.majority_accuracy) for a in answers]
    return [100 * value for values in held for value in values]


def _handles(records: Sequence[Record]) -> list[Line2D]:
    looks = [CONDITIONS[c] for c in conditions_of([r for r in records if not is_reference(r)])]
    looks += [REFERENCE] if any(map(is_reference, records)) else []
    majority = Line2D([], [], **_MAJORITY, label="majority class")
    return [*(look.handle() for look in looks), majority]


def _notes(records: Sequence[Record]) -> list[str]:
    notes = ["Bars: 95% intervals."]
    notes += [UNOFFICIAL] if not all(record.task.official_data for record in records) else []
    notes += [SEEN] if any(record.model.seen_in_training for record in records) else []
    return notes
