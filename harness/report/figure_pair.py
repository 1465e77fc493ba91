"""The layer curves of two results in one figure, though their models differ in depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report import drawing
from harness.report.drawing import BLACK, BLUE, GREY, PALE, VERMILLION, Drawing
from leaderboard.record.parts import Interval
from leaderboard.record.record import ProbePart, Record

LOOKS = ((BLUE, "o"), (VERMILLION, "s"))  # of the first and the second result
# Where each module stands: its layers spread evenly over this stretch, the first on the left.
_STRETCHES = {"vision": (0.0, 1.0), "connector": (1.25, 1.25), "llm": (1.5, 2.5)}
_ANSWER = 2.75
_NAMES = {
    0.5: "vision encoder,\nfirst to last layer",
    1.25: "connector",
    2.0: "language model,\nfirst to last layer",
    _ANSWER: "answer",
}
_ENDS = (-0.08, _ANSWER + 0.12)
_NARROW_NAMES = {0.5: "vision\nencoder", 1.25: "con-\nnector", 2.0: "language\nmodel", _ANSWER: "answer"}


@dataclass(frozen=True)
class Point:
    """A value at a place along the way of an image, from 0 (first vision layer) to 2.75 (answer)."""

    x: float
    value: Interval


def readouts(first: Record, second: Record) -> tuple[str, ...]:
    """Return the readouts that both records have."""
    theirs = {probe.readout for probe in second.probes}
    return tuple(name for name in dict.fromkeys(probe.readout for probe in first.probes) if name in theirs)


def pair_drawing(records: tuple[Record, Record], names: tuple[str, str], readout: str) -> Drawing:
    """Return the curves of one readout of two results, one over the other.

    Args:
        records: of one task.
        names: what the legend calls the two.
        readout: one that both have.
    """
    ways = [(path(record, readout, "last"), path(record, readout, "mean")) for record in records]
    said = "; ".join(
        f"{name} from {100 * found[0].value.value:.1f} at the first layer to {100 * found[-1].value.value:.1f}"
        for name, (found, _) in zip(names, ways, strict=True)
        if found
    )
    return Drawing(
        "pair",
        f"What a probe reads from each layer of the two models, {readout} readout",
        f"Balanced accuracy in percent: {said}.",
        partial(_draw, records, names, ways, _has_null(records, readout)),
    )


def path(record: Record, readout: str, pool: str) -> tuple[Point, ...]:
    """Return what is read along the way: vision layers, connector, decoder layers, and the answer at the end.

    In the decoder by `pool`: "last", the last prompt token; or "mean", the image tokens, without the answer.
    """
    same = [probe for probe in record.probes if probe.readout == readout]
    found = [_points(same, "llm", pool)]
    if pool == "last":
        found = [_points(same, "vision", "mean"), _points(same, "connector", "mean"), *found]
    points = tuple(point for module in found for point in module)
    if pool == "last" and record.answers is not None:
        points += (Point(_ANSWER, record.answers.balanced_accuracy),)
    return points


def _points(probes: Sequence[ProbePart], module: str, pool: str) -> list[Point]:
    held = sorted((p for p in probes if (p.module, p.pool) == (module, pool)), key=lambda p: p.layer)
    start, end = _STRETCHES[module]
    last = max((p.layer for p in held), default=0)
    shares = [p.layer / last if last else 0.5 for p in held]
    return [
        Point(start + share * (end - start), p.balanced_accuracy)
        for share, p in zip(shares, held, strict=True)
    ]


def _has_null(records: Sequence[Record], readout: str) -> bool:
    return any(p.permutation_p is not None for r in records for p in r.probes if p.readout == readout)


def _draw(
    records: Sequence[Record],
    names: Sequence[str],
    ways: Sequence[tuple[tuple[Point, ...], tuple[Point, ...]]],
    has_null: bool,
    width: float,
) -> Figure:
    narrow = drawing.is_narrow(width)
    figure = Figure(figsize=(width, 4.6 if narrow else 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(*_ENDS)
    letters = 36 if narrow else 44
    for place, (record, name, (line, tokens)) in enumerate(zip(records, names, ways, strict=True)):
        colour, marker = LOOKS[place]
        _draw_curve(axes, line, colour, marker, drawing.shorten(name, letters))
        if tokens:
            axes.plot(
                [p.x for p in tokens],
                [100 * p.value.value for p in tokens],
                color=colour,
                linewidth=1.2,
                linestyle=(0, (2, 1.5)),
            )
        if has_null and record.permutation is not None:
            axes.axhline(100 * record.permutation.highest, color=colour, linestyle=(0, (1, 1)), linewidth=1.2)
    chance = 100 / len(records[0].task.classes)
    axes.axhline(chance, color=BLACK, linestyle=(0, (5, 3)), linewidth=1, label="chance")
    _explain(axes, any(tokens for _, tokens in ways), has_null)
    for edge in (1.125, 1.375, 2.625):
        axes.axvline(edge, color=PALE, linewidth=1, zorder=0)
    places = _NARROW_NAMES if narrow else _NAMES
    axes.set_xticks(list(places), list(places.values()), fontsize=8 if narrow else 8.5)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("balanced accuracy (%)", fontsize=8.5)
    axes.set_ylim(0, 102)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    drawing.legend_below(figure, axes, 1 if narrow else 2)
    return figure


def _draw_curve(axes: Axes, points: Sequence[Point], colour: str, marker: str, label: str) -> None:
    """Draw a line through the layers with a band of the 95% intervals, and the answer as a point of its own."""
    layers = [point for point in points if point.x < _ANSWER]
    below, above = drawing.errors([point.value for point in layers])
    xs, middle = [point.x for point in layers], [100 * point.value.value for point in layers]
    axes.fill_between(
        xs,
        [m - b for m, b in zip(middle, below, strict=True)],
        [m + a for m, a in zip(middle, above, strict=True)],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )
    axes.plot(xs, middle, color=colour, marker=marker, markersize=4.5, linewidth=1.6, label=label)
    for point in points[len(layers) :]:
        beside = -0.03 if marker == "o" else 0.03  # so that two equal answers are both seen
        axes.errorbar(
            [point.x + beside],
            [100 * point.value.value],
            yerr=drawing.errors([point.value]),
            color=colour,
            marker=marker,
            markersize=7,
            markeredgecolor=BLACK,
            capsize=2.5,
            zorder=4,
        )


def _explain(axes: Axes, tokens: bool, has_null: bool) -> None:
    """Name the kinds of line that both results share."""
    axes.add_line(Line2D([], [], color=GREY, linewidth=1.6, label="last prompt token in the language model"))
    if tokens:
        axes.add_line(
            Line2D([], [], color=GREY, linewidth=1.2, linestyle=(0, (2, 1.5)), label="its image tokens")
        )
    if has_null:
        axes.add_line(
            Line2D(
                [],
                [],
                color=GREY,
                linewidth=1.2,
                linestyle=(0, (1, 1)),
                label="permuted labels, best layer, 95%",
            )
        )
