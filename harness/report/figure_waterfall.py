"""The waterfall: from the reference's accuracy down, stage by stage, to that of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from harness.report import drawing
from harness.report.drawing import BLACK, GREY, PALE, SKY, VERMILLION, Drawing
from harness.report.wording import points
from leaderboard.figures.waterfall_steps import Step, steps
from leaderboard.record.record import Record

_NAMED = "#FFF4CC"  # behind the named stage
_DASHED = (0, (5, 3))
_SPAN = 20  # points of accuracy that are shown at least, so that small losses look small


def waterfall_drawing(record: Record) -> Drawing | None:
    """Return the waterfall, or None where the record has no levels to draw it from."""
    found = steps(record)
    if not found:
        return None
    chance = 100 / len(record.task.classes)
    said = "; ".join(_in_words(step) for step in found if step.kind in ("level", "term"))
    return Drawing(
        "waterfall",
        "Where accuracy is lost between image and answer",
        f"Balanced accuracy in percent, chance is {chance:.1f}. {said}.",
        lambda width: _draw(found, chance, width),
    )


def _in_words(step: Step) -> str:
    if step.kind == "level":
        return f"{step.label} {points(step.end)}"
    return f"{step.label} {'loses' if step.lost >= 0 else 'gains'} {points(abs(step.lost))} points"


def _draw(found: Sequence[Step], chance: float, width: float) -> Figure:
    narrow = drawing.is_narrow(width)
    heights = [_height(step) for step in found]
    places = [below - height / 2 for below, height in zip(accumulate(heights), heights, strict=True)]
    figure = Figure(
        figsize=(width, 1.5 + (0.46 if narrow else 0.4) * sum(heights)),
        layout=ConstrainedLayoutEngine(wspace=0.0, w_pad=0.02),
    )
    left, right = _axes(figure, found, chance)
    for axes in dict.fromkeys((left, right)):
        _shade_named(axes, found, places)
        axes.axvline(chance, color=BLACK, linestyle=_DASHED, linewidth=1)
        axes.set_ylim(sum(heights), 0)
        axes.grid(axis="x", color=PALE, linewidth=0.6)
        axes.tick_params(axis="y", length=0)
    for step, place in zip(found, places, strict=True):
        _draw_step(right, step, place)
    for (step, place), (after, below) in pairwise(zip(found, places, strict=True)):
        level = step.start if (step.kind, after.kind) == ("term", "part") else step.end
        right.plot([level, level], [place, below], color=GREY, linewidth=0.7, zorder=1)
    left.set_yticks(places, [_row_name(s) for s in found], fontsize=8.5 if narrow else 9)
    right.set_xlabel("balanced accuracy (%)", fontsize=8.5)
    _write_losses(left, right, found, places, narrow)
    _add_legend(figure, found, narrow)
    return figure


def _axes(figure: Figure, found: Sequence[Step], chance: float) -> tuple[Axes, Axes]:
    """Return the axes of the chance line and of the rows: one and the same, or two with a gap between.

    Where chance is far below, a common scale would leave a loss of a few points too thin to see.
    """
    shown = [x for step in found for x in (step.start, step.end, step.low, step.high)]
    low, high = min(shown) - 1.5, max(shown) + 1.5
    low = min(low, high - _SPAN)
    if low - chance < (high - low) / 2:
        axes = figure.add_subplot()
        axes.set_xlim(min(low, chance - 2), max(high, chance + 2))
        return axes, axes
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 8))
    left.set_xlim(chance - 2, chance + 2)
    left.set_xticks([chance], [f"{chance:.0f}"])
    right.set_xlim(low, high)
    right.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    right.spines["left"].set_visible(False)
    slash = {"marker": [(-0.5, -1), (0.5, 1)], "markersize": 9, "linestyle": "none", "color": BLACK}
    left.plot([1], [0], transform=left.transAxes, clip_on=False, **slash)
    right.plot([0], [0], transform=right.transAxes, clip_on=False, **slash)
    return left, right


def _shade_named(axes: Axes, found: Sequence[Step], places: Sequence[float]) -> None:
    for step, place in zip(found, places, strict=True):
        if step.named:
            axes.axhspan(place - 0.5, place + 0.5, color=_NAMED, zorder=0)


def _height(step: Step) -> float:
    return 0.8 if step.kind == "part" else 1.0


def _row_name(step: Step) -> str:
    if step.kind == "part":
        return f"· {step.label}"
    return f"{step.label}\n(named)" if step.named else step.label


def _draw_step(axes: Axes, step: Step, place: float) -> None:
    if step.kind == "absent":
        return
    if step.kind == "level":
        axes.plot([step.end], [place], marker="D", markersize=6, color=BLACK, linestyle="none", zorder=4)
    else:
        thick = 0.3 if step.kind == "part" else 0.56
        axes.barh(
            place,
            step.end - step.start,
            left=step.start,
            height=thick,
            color=_colour(step),
            edgecolor=BLACK if step.named else _colour(step),
            linewidth=1.8 if step.named else 0.8,
            hatch="////" if step.named else None,
            zorder=2,
        )
    ends = [[max(step.end - step.low, 0.0)], [max(step.high - step.end, 0.0)]]
    axes.errorbar(
        [step.end], [place], xerr=ends, fmt="none", ecolor=BLACK, elinewidth=1, capsize=2.5, zorder=3
    )


def _colour(step: Step) -> str:
    if step.lost < 0:
        return SKY
    return VERMILLION if step.significant else "#AAAAAA"


def _write_losses(
    left: Axes, right: Axes, found: Sequence[Step], places: Sequence[float], narrow: bool
) -> None:
    column = right.twinx()
    column.set_ylim(right.get_ylim())
    column.set_yticks(places, [_said(step, narrow) for step in found], fontsize=7.5 if narrow else 8.5)
    column.tick_params(axis="y", length=0)
    for side in ("left", "right"):
        column.spines[side].set_visible(False)
    right.annotate(
        "points lost\n(95% interval)",
        (1, 1),
        xytext=(4, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        va="bottom",
        fontsize=8,
        color=GREY,
    )
    for step, name, said in zip(found, left.get_yticklabels(), column.get_yticklabels(), strict=True):
        if step.named:
            name.set_fontweight("bold")
            said.set_fontweight("bold")
        if step.kind == "part":
            name.set_fontsize(8)
            name.set_color("#444444")


def _said(step: Step, narrow: bool) -> str:
    if step.kind == "absent":
        return "not assessed"
    if step.kind == "level":
        value, low, high = step.end, step.low, step.high
        return f"at {value:.1f}%" + (f" ({low:.1f} to {high:.1f})" if high > low and not narrow else "")
    low, high, gap = step.start - step.high, step.start - step.low, "\n" if narrow else " "
    return f"{points(step.lost)}{gap}({points(low)} to {points(high)})"


def _add_legend(figure: Figure, found: Sequence[Step], narrow: bool) -> None:
    terms = [step for step in found if step.kind in ("term", "part")]
    handles: list[Patch | Line2D] = []
    if any(s.significant and s.lost >= 0 for s in terms):
        handles.append(Patch(facecolor=VERMILLION, label="significant loss"))
    if any(s.lost >= 0 and not s.significant for s in terms):
        handles.append(Patch(facecolor="#AAAAAA", label="other loss (not significant, or a part)"))
    if any(s.lost < 0 for s in terms):
        handles.append(Patch(facecolor=SKY, label="gain: easier to read after it"))
    if any(s.named for s in terms):
        handles.append(Patch(facecolor="white", edgecolor=BLACK, hatch="////", label="the named stage"))
    handles.append(Line2D([], [], color=BLACK, linestyle=_DASHED, linewidth=1, label="chance"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=1 if narrow else 3, fontsize=8, frameon=False
    )
