"""The health profile: the Feature Health Score of every module beside that of a flat curve with the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report import drawing
from harness.report.drawing import BLACK, BLUE, GREEN, GREY, ORANGE, PALE, PURPLE, VERMILLION, Drawing
from leaderboard.record.record import HealthProfile, ModuleHealthPart, Record

_LOOKS = {  # the module's name, colour and marker
    "vision": ("vision encoder", BLUE, "o"),
    "connector": ("connector", GREEN, "D"),
    "llm": ("language model", VERMILLION, "s"),
    "llm_mean": ("its image tokens", PURPLE, "^"),
}


@dataclass(frozen=True)
class ModuleHealth:
    """One row of the profile."""

    key: str
    name: str
    part: ModuleHealthPart


def modules(profile: HealthProfile) -> tuple[ModuleHealth, ...]:
    """Return the profile's modules in the order in which an image passes them."""
    return tuple(ModuleHealth(key, look[0], getattr(profile, key)) for key, look in _LOOKS.items())


def health_drawing(record: Record, shared: Sequence[Record] = ()) -> Drawing | None:
    """Return the health profile; None where the record has none.

    Args:
        record: whose profile.
        shared: records beside which it is to be read: all their values fit the axis too.
    """
    if record.health is None:
        return None
    rows = modules(record.health)
    held = [one.health for one in (record, *shared) if one.health is not None]
    ends = [
        x for one in held for row in modules(one) for x in (row.part.low, row.part.high, row.part.fhs_noise)
    ]
    said = "; ".join(
        f"{row.name} {row.part.fhs:.2f} ({row.part.low:.2f} to {row.part.high:.2f}), flat curve "
        f"{row.part.fhs_noise:.2f}{', noise-limited' if row.part.noise_limited else ''}"
        for row in rows
    )
    return Drawing(
        "health",
        "How healthy each module's features are, against noise",
        f"Feature Health Score with its 95% interval: {said}.",
        partial(_draw, rows, (min(ends), max(ends))),
    )


def _draw(rows: Sequence[ModuleHealth], ends: tuple[float, float], width: float) -> Figure:
    narrow = drawing.is_narrow(width)
    figure = Figure(figsize=(width, 2.75 if narrow else 2.3), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        _draw_row(axes, row, place)
    axes.plot(
        [],
        [],
        marker="|",
        color=ORANGE,
        markersize=11,
        markeredgewidth=2.5,
        linestyle="none",
        label="a flat curve with the same noise",
    )
    axes.plot([], [], marker="o", color=GREY, markersize=6, linestyle="none", label="score, 95% interval")
    if any(row.part.noise_limited for row in rows):
        axes.plot(
            [],
            [],
            marker="o",
            color=GREY,
            markerfacecolor="white",
            markersize=6,
            linestyle="none",
            label="noise-limited: not to be ranked",
        )
    names = [f"{row.name}\n(noise-limited)" if row.part.noise_limited else row.name for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=8.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    margin = 0.06 * max(ends[1] - ends[0], 0.2)
    axes.set_xlim(ends[0] - margin, ends[1] + margin)
    axes.locator_params(axis="x", nbins=5 if narrow else 8)
    axes.set_xlabel("Feature Health Score", fontsize=8.5)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    drawing.legend_below(figure, axes, 1 if narrow else 2)
    return figure


def _draw_row(axes: Axes, row: ModuleHealth, place: int) -> None:
    part, (_, colour, marker) = row.part, _LOOKS[row.key]
    axes.plot(
        [part.fhs_noise, part.fhs], [place, place], color=GREY, linewidth=0.8, linestyle=(0, (1, 1)), zorder=1
    )
    axes.errorbar(
        [part.fhs],
        [place],
        xerr=[[max(part.fhs - part.low, 0.0)], [max(part.high - part.fhs, 0.0)]],
        color=colour,
        marker=marker,
        markersize=7,
        markerfacecolor="white" if part.noise_limited else colour,
        markeredgewidth=1.4,
        elinewidth=1.3,
        ecolor=BLACK if part.noise_limited else colour,
        capsize=3,
        zorder=3,
    )
    axes.plot(
        [part.fhs_noise], [place], marker="|", color=ORANGE, markersize=15, markeredgewidth=2.5, zorder=2
    )
