"""The paired comparisons of one question: both values, their difference, and what can be concluded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.drawing import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    SKY,
    VERMILLION,
    errors,
    reach,
    style,
)
from harness.report.wording import p_value
from harness.study.figure_parts import CONDITIONS, SMALL, TINY, WIDTH, Look, add_foot, fitted
from leaderboard.compare.contrasts import FINE_TUNING, LAYER, MEDICAL, PROBE, REFERENCE, Contrast

# By question: how the first and the second side are drawn and called.
SIDES: dict[str, tuple[Look, Look]] = {
    FINE_TUNING: (CONDITIONS["lora"], CONDITIONS["released"]),
    MEDICAL: (Look(VERMILLION, "D", "model"), Look(SKY, "o", "its base")),
    REFERENCE: (Look(BLUE, "o", "model"), Look(GREEN, "^", "reference classifier")),
    LAYER: (Look(ORANGE, "P", "best vision layer"), Look(BLUE, "o", "layer read by the connector")),
    PROBE: (Look(VERMILLION, "s", "probe of the last layer"), Look(BLACK, "*", "answer")),
}
_OTHER = (Look(VERMILLION, "s", "first"), Look(BLUE, "o", "second"))
_ROW, _TALL_ROW, _HEAD = 0.19, 0.28, 0.45  # inches: a row with one line, with two, and what is around
_LETTERS, _NARROW = (
    42,
    28,
)  # of a row's name: a line beside another one, and one of two into which it is broken
_OFFSET = 0.14  # of a row, between its middle and each side's point


@dataclass(frozen=True)
class _Row:
    """A comparison, and its place from above."""

    place: int
    contrast: Contrast


def contrast_figure(contrasts: Sequence[Contrast], family: str) -> Figure | None:
    """Return all comparisons of a question, by task: accuracies in percent, differences in points.

    Intervals are 95%, of each comparison alone; the words at the right edge go by p after Holm. None where the
    question has no comparison.
    """
    held = [contrast for contrast in contrasts if contrast.family == family]
    if not held:
        return None
    tasks = sorted({contrast.task for contrast in held})
    heads, rows = {}, []
    place = 0
    for task in tasks:
        heads[place] = task
        same = sorted((c for c in held if c.task == task), key=lambda c: (c.model, c.first, c.second))
        rows += [_Row(place + 1 + i, contrast) for i, contrast in enumerate(same)]
        place += 1 + len(same)
    with style():
        return _draw(rows, heads, family)


def _draw(rows: Sequence[_Row], heads: dict[int, str], family: str) -> Figure:
    names = [_name(row.contrast) for row in rows]
    sides = SIDES.get(family, _OTHER)
    size = _TALL_ROW if any("\n" in name for name in names) else _ROW
    count = len(rows) + len(heads)
    figure = Figure(figsize=(WIDTH, _HEAD + size * count), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
    for row in rows:
        _draw_values(left, row, sides)
        _draw_difference(right, row)
    _dress(left, right, rows, heads)
    left.set_xlabel(f"{' / '.join(sorted({row.contrast.metric for row in rows}))} (%)", fontsize=SMALL)
    right.set_xlabel("difference (points)", fontsize=SMALL)
    first, second = sides
    said = f"Difference: {first.label} minus {second.label}, paired over the same test images."
    add_foot(
        figure,
        [first.handle(), second.handle()],
        [
            f"{said} Bars: 95% intervals, each by itself.",
            f"Right edge: which way the first differs, by p after Holm over these {len(rows)} comparisons.",
        ]
        if len(rows) > 1
        else [f"{said} Bars: 95% intervals."],
    )
    return figure


def _name(contrast: Contrast) -> str:
    """Name what is compared: the model, and below it the two sides where the legend does not say them all."""
    if contrast.family == FINE_TUNING:
        return fitted(contrast.second, _NARROW)
    first = "" if contrast.first == contrast.model else f"{fitted(contrast.first, 14, 1)} "
    room = _LETTERS - 3 - len(first)
    return f"{fitted(contrast.model, _LETTERS, 1)}\n{first}vs {fitted(contrast.second, room, 1)}"


def _draw_values(axes: Axes, row: _Row, sides: tuple[Look, Look]) -> None:
    values = (row.contrast.first_value, row.contrast.second_value)
    places = (row.place - _OFFSET, row.place + _OFFSET)
    axes.plot([100 * v.value for v in values], places, color=GREY, linewidth=0.9, zorder=1)
    for value, place, look in zip(values, places, sides, strict=True):
        axes.errorbar(
            [100 * value.value],
            [place],
            xerr=errors([value]),
            color=look.colour,
            marker=look.marker,
            markersize=4.5,
            linestyle="none",
            elinewidth=1.0,
            capsize=1.5,
        )


def _draw_difference(axes: Axes, row: _Row) -> None:
    contrast = row.contrast
    sure = contrast.conclusion != "undetermined"
    value = 100 * contrast.value
    axes.errorbar(
        [value],
        [row.place],
        xerr=[[max(value - 100 * contrast.low, 0.0)], [max(100 * contrast.high - value, 0.0)]],
        color=BLACK if sure else GREY,
        marker="d",
        markersize=4.5,
        markerfacecolor=BLACK if sure else "white",
        linestyle="none",
        elinewidth=1.1,
        capsize=2,
    )
    adjusted = p_value(contrast.p_adjusted)
    axes.annotate(
        f"{contrast.conclusion}, p {adjusted if adjusted.startswith('<') else f'= {adjusted}'}",
        (1.03, row.place),
        xycoords=axes.get_yaxis_transform(),
        va="center",
        fontsize=TINY,
        fontweight="bold" if sure else "normal",
        color=BLACK if sure else "#444444",
    )


def _dress(left: Axes, right: Axes, rows: Sequence[_Row], heads: dict[int, str]) -> None:
    names = {row.place: _name(row.contrast) for row in rows}
    names |= {place: fitted(task, _LETTERS, 1) for place, task in heads.items()}
    left.set_yticks(list(names), list(names.values()), fontsize=TINY, linespacing=1.05)
    for place, label in zip(names, left.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if place in heads else "normal")
    left.set_ylim(len(rows) + len(heads) - 0.4, -0.6)
    values = [v for row in rows for v in (row.contrast.first_value, row.contrast.second_value)]
    left.set_xlim(*reach([100 * end for v in values for end in (v.value, v.low, v.high)], 4))
    right.axvline(0, color=BLACK, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1)
    ends = [100 * end for row in rows for end in (row.contrast.low, row.contrast.high)]
    margin = 0.08 * max(max(ends) - min(ends), 2.0)
    right.set_xlim(min(-2.0, *ends) - margin, max(2.0, *ends) + margin)
    right.tick_params(axis="y", length=0, labelleft=False)
    for axes in (left, right):
        axes.tick_params(axis="x", labelsize=TINY)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=PALE, linewidth=0.5)
        axes.locator_params(axis="x", nbins=6, steps=[1, 2, 5, 10])
        for place in heads:
            axes.axhline(place - 0.5, color=GREY, linewidth=0.6)
