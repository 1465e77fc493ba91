"""Layer curves side by side: one row a model, as released and fine-tuned, one figure a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.report.drawing import BLACK, GREY, PALE, curve, errors, style
from harness.report.figure_layers import ANSWER, SERIES, null_bands, site_order
from harness.study.figure_parts import (
    CONDITIONS,
    LIGHT,
    PAGE,
    SMALL,
    TINY,
    WIDTH,
    add_foot,
    fitted,
    is_reference,
    models_of,
    tasks_of,
)
from leaderboard.record.record import Condition, ProbePart, Record

ROWS = 8  # models on one page
_TALL = 1.65  # inches: a row where there is room
_FEET = 1.4  # inches: what a page keeps for the legend
_TOP, _NAMES = 130, 117  # percent: the panel's end, and where the modules' names stand
_CHANCE: dict[str, Any] = {"color": BLACK, "linestyle": (0, (5, 3)), "linewidth": 0.9}
_RING: dict[str, Any] = {
    "marker": "o",
    "markersize": 9,
    "fillstyle": "none",
    "linestyle": "none",
    "color": BLACK,
}
NOTE = "Bands and bars: 95% intervals. Numbers below a panel: layers. C: connector, A: answer."

_Sites = Mapping[tuple[str, int], int]


def layer_grid_figures(records: Sequence[Record], readout: str) -> dict[str, Figure]:
    """Return the layer curves of one readout by task: balanced test accuracy in percent, 95% intervals.

    A task with more than eight models has several pages, "<task>-1" and so on. Only the released column is
    drawn where no model is fine-tuned. Empty where no model was probed with this readout.
    """
    models = [record for record in records if not is_reference(record)]
    probed = [record for record in models if _probes(record, readout)]
    if not probed:
        return {}
    columns: list[Condition] = ["released"]
    if any(record.condition == "lora" for record in models):
        columns.append("lora")
    found: dict[str, Figure] = {}
    names = models_of(probed)
    for task in tasks_of(probed):
        same = [record for record in models if record.task.name == task]
        for number, first in enumerate(range(0, len(names), ROWS)):
            title = task if len(names) <= ROWS else f"{task}-{number + 1}"
            with style():
                figure = _draw(same, names[first : first + ROWS], columns, readout)
            found[title] = figure
    return found


def _probes(record: Record, readout: str) -> list[ProbePart]:
    return [probe for probe in record.probes if probe.readout == readout]


def _draw(
    records: Sequence[Record], models: Sequence[str], columns: Sequence[Condition], readout: str
) -> Figure:
    height = min(_TALL, (PAGE - _FEET) / len(models))
    figure = Figure(
        figsize=(WIDTH if len(columns) > 1 else 5.0, height * len(models) + 0.25),
        layout=ConstrainedLayoutEngine(h_pad=0.03, hspace=0.0),
    )
    grid = figure.subplots(len(models), len(columns), sharey=True, squeeze=False)
    cells = {(record.model.name, record.condition): record for record in records}
    for row, model in enumerate(models):
        for column, condition in enumerate(columns):
            _draw_cell(grid[row][column], cells.get((model, condition)), readout)
        letters = 48 if len(columns) > 1 else 60
        grid[row][0].set_title(fitted(model, letters, 1), fontsize=SMALL, loc="left")
    if len(columns) > 1:
        for column, condition in enumerate(columns):
            head = f"{CONDITIONS[condition].label}\n"  # the line below it is the model's
            grid[0][column].set_title(head, fontsize=SMALL, loc="center", fontweight="bold")
    grid[0][0].set_ylim(0, _TOP)
    grid[0][0].set_yticks(range(0, 101, 25))
    name = figure.supylabel("balanced accuracy (%)", fontsize=SMALL)
    task = records[0].task
    title = f"{fitted(task.name, 50, 1)}: {len(task.classes)} classes, {fitted(readout, 20, 1)} readout"
    figure.suptitle(title, fontsize=SMALL + 1)
    name.set_y(add_foot(figure, _handles(records, models, readout), [NOTE]))
    return figure


def _draw_cell(axes: Axes, record: Record | None, readout: str) -> None:
    probes = [] if record is None else _probes(record, readout)
    axes.tick_params(labelsize=TINY)
    if record is None or not probes:
        _say(axes, "not run" if record is None else "layers not probed")
        return
    sites = site_order(probes)
    places = {site: place for place, site in enumerate(sites)}
    axes.set_xlim(-0.7, len(sites) + 0.7)
    _draw_floors(axes, record, probes, places)
    for name in SERIES:
        _draw_series(axes, name, [p for p in probes if _series(p) == name], places)
    for probe in probes:
        if probe.consumed:
            value = 100 * probe.balanced_accuracy.value
            axes.plot([places[probe.module, probe.layer]], [value], **_RING, zorder=5)
    if record.answers is not None:
        curve(axes, [len(sites)], [record.answers.balanced_accuracy], (BLACK, "*", ANSWER), 9)
    _dress(axes, sites)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=SMALL, color=LIGHT)
    axes.set_xticks([])
    axes.spines["bottom"].set_color(PALE)
    axes.spines["left"].set_color(PALE)


def _series(probe: ProbePart) -> str:
    return f"{probe.module}.{probe.pool}"


def _draw_series(axes: Axes, name: str, probes: Sequence[ProbePart], places: _Sites) -> None:
    """Draw one series with its interval as a band; a single place has a bar."""
    ordered = sorted(probes, key=lambda p: p.layer)
    xs = [places[p.module, p.layer] for p in ordered]
    values = [p.balanced_accuracy for p in ordered]
    colour, marker, _ = SERIES[name]
    if len(xs) == 1:
        curve(axes, xs, values, SERIES[name], 3.5)
    elif xs:
        middle = [100 * v.value for v in values]
        below, above = errors(values)
        low = [m - b for m, b in zip(middle, below, strict=True)]
        high = [m + a for m, a in zip(middle, above, strict=True)]
        axes.fill_between(xs, low, high, color=colour, alpha=0.2, linewidth=0)
        every = max(1, len(places) // 16)
        axes.plot(xs, middle, color=colour, marker=marker, markersize=3.5, linewidth=1.2, markevery=every)


def _draw_floors(axes: Axes, record: Record, probes: Sequence[ProbePart], places: _Sites) -> None:
    axes.axhline(100 / len(record.task.classes), **_CHANCE, zorder=1)
    bands = null_bands(record, probes, places)
    if bands:
        xs = [place + side for place, *_ in bands for side in (-0.5, 0.5)]
        low, high = ([band[end] for band in bands for _ in range(2)] for end in (1, 3))
        axes.fill_between(xs, low, high, color=GREY, alpha=0.25, linewidth=0)


def _dress(axes: Axes, sites: Sequence[tuple[str, int]]) -> None:
    """Number the layers, name the modules in the strip above 100%, and part them by lines."""
    step = max(1, -(-len(sites) // 12))
    alone = [i for i, (module, _) in enumerate(sites) if module == "connector"]
    ticks = [
        i
        for i, (module, layer) in enumerate(sites)
        if module != "connector" and layer % step == 0 and all(abs(i - c) * 2 >= step for c in alone)
    ]
    names = [*(str(sites[i][1]) for i in ticks), *("C" for _ in alone), "A"]
    axes.set_xticks([*ticks, *alone, len(sites)], names)
    for module, name in (("vision", "vision encoder"), ("llm", "language model")):
        held = [i for i, site in enumerate(sites) if site[0] == module]
        if held:
            middle = (held[0] + held[-1]) / 2
            axes.text(middle, _NAMES, name, fontsize=6.5, color="#444444", ha="center", va="center")
    for i, (before, after) in enumerate(zip(sites, [*sites[1:], ("answer", 0)], strict=True)):
        if before[0] != after[0]:
            axes.axvline(i + 0.5, color=PALE, linewidth=0.8, zorder=0)
    axes.grid(axis="y", color=PALE, linewidth=0.5)


def _handles(records: Sequence[Record], models: Sequence[str], readout: str) -> list[Artist]:
    """Explain what is drawn on this page, and nothing else."""
    drawn = [record for record in records if record.model.name in models and _probes(record, readout)]
    held = {_series(probe) for record in drawn for probe in _probes(record, readout)}
    handles: list[Artist] = [
        Line2D([], [], color=colour, marker=marker, markersize=4, linewidth=1.2, label=label)
        for name, (colour, marker, label) in SERIES.items()
        if name in held
    ]
    if any(probe.consumed for record in drawn for probe in _probes(record, readout)):
        handles.append(Line2D([], [], **_RING, label="read by the connector"))
    if any(record.answers is not None for record in drawn):
        star: dict[str, Any] = {"marker": "*", "markersize": 8, "linestyle": "none", "color": BLACK}
        handles.append(Line2D([], [], **star, label=ANSWER))
    handles.append(Line2D([], [], **_CHANCE, label="chance"))
    if any(null_bands(r, _probes(r, readout), _all_places(r, readout)) for r in drawn):
        handles.append(Patch(color=GREY, alpha=0.25, linewidth=0, label="permuted labels, 5% to 95%"))
    return handles


def _all_places(record: Record, readout: str) -> _Sites:
    return {site: place for place, site in enumerate(site_order(_probes(record, readout)))}
