"""The waterfall: from the reference's accuracy down, stage by stage, to that of the answers.

Drawn in balanced accuracy, the scale of the tests and intervals: A in percent of a right answer rather than
of the way from chance to perfect. On a test set with as many images of each class it is plain accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.report import drawing
from harness.report.drawing import BLACK, GREY, PALE, SKY, VERMILLION, Drawing
from leaderboard.record import DiagnosisPart, Drop, GapPart, Interval, Record

Kind = Literal["level", "term", "part", "absent"]

STAGES = {
    "vision": "Vision",
    "connector": "Connector",
    "comprehension": "Comprehension",
    "mapping": "Mapping",
}
_ENDS = {
    "vision": ("reference", "vision"),
    "connector": ("vision", "connector"),
    "comprehension": ("connector", "logistic"),
    "mapping": ("logistic", "answers"),
}
# What comprehension is made of: the three add up to it; without the middle place, the two halves.
_THIRDS = {
    "erased": ("connector", "image_mean"),
    "not_routed": ("image_mean", "last_token"),
    "not_used": ("last_token", "logistic"),
}
_HALVES = {"lost_in_decoder": ("connector", "last_token"), "not_used": ("last_token", "logistic")}
_PART_NAMES = {
    "erased": "erased",
    "not_routed": "not routed",
    "not_used": "not used",
    "lost_in_decoder": "lost in decoder",
    "parse_loss": "unreadable text",
}
_NAMED = "#FFF4CC"  # behind the named stage


@dataclass(frozen=True)
class Step:
    """One row. `start` and `end` are levels, `low` and `high` the interval of `end`, all in percent."""

    name: str
    label: str
    kind: Kind
    start: float
    end: float
    low: float
    high: float
    significant: bool = False
    named: bool = False

    @property
    def lost(self) -> float:
        """Points lost; below 0 where the later place is easier to read."""
        return self.start - self.end


def waterfall_drawing(record: Record) -> Drawing | None:
    """Return the waterfall, or None where the record has no levels to draw it from."""
    found = steps(record)
    if not found:
        return None
    chance = 100 / len(record.task.classes)
    said = "; ".join(
        f"{s.label} {s.end:.1f}" if s.kind == "level" else f"{s.label} loses {s.lost:.1f} points"
        for s in found
        if s.kind in ("level", "term")
    )
    return Drawing(
        "waterfall",
        "Where accuracy is lost between image and answer",
        f"Balanced accuracy in percent, chance is {chance:.1f}. {said}.",
        lambda width: _draw(found, chance, width),
    )


def steps(record: Record) -> tuple[Step, ...]:
    """Return the waterfall's rows from the reference to the answers; none where levels are missing."""
    found = record.diagnosis
    if found is None or not {"vision", "connector", "logistic", "answers"} <= set(found.levels):
        return ()
    scale = _Scale(found, len(record.task.classes))
    drops = {drop.mode: drop for drop in found.drops}
    rows = [_first(record, scale)]
    for mode in STAGES:
        if mode not in drops:
            where = scale.level(_ENDS[mode][1])
            rows.append(Step(mode, STAGES[mode], "absent", where, where, where, where))
            continue
        rows.append(scale.step(mode, STAGES[mode], "term", _ENDS[mode], drops[mode]))
        if mode == "comprehension":
            halves = _THIRDS if set(_THIRDS) <= set(found.parts) else _HALVES
            rows += [
                scale.step(name, _PART_NAMES[name], "part", ends, found.parts[name])
                for name, ends in halves.items()
                if name in found.parts
            ]
    rows.append(_last(record, scale))
    if record.answers is not None and record.answers.headline_source == "generated":
        part = found.parts.get("parse_loss")
        if part is not None:
            ends = ("answers", "generated")
            rows.append(scale.step("parse_loss", _PART_NAMES["parse_loss"], "part", ends, part))
    return tuple(rows)


@dataclass(frozen=True)
class _Scale:
    found: DiagnosisPart
    classes: int

    def level(self, locus: str) -> float:
        return 100 * (1 / self.classes + self.found.levels[locus] * (1 - 1 / self.classes))

    def points(self, value: float) -> float:
        return 100 * value * (1 - 1 / self.classes)

    def step(self, name: str, label: str, kind: Kind, ends: tuple[str, str], gap: Drop | GapPart) -> Step:
        start, end = self.level(ends[0]), self.level(ends[1])
        low, high = start - self.points(gap.high), start - self.points(gap.low)
        significant = isinstance(gap, Drop) and gap.significant
        return Step(name, label, kind, start, end, low, high, significant, name == self.found.verdict)


def _first(record: Record, scale: _Scale) -> Step:
    if "reference" in scale.found.levels:
        measured = record.floors.reference.balanced_accuracy if record.floors else None
        return _level("reference", "Reference R", scale.level("reference"), measured)
    read = next((p for p in record.probes if p.consumed and p.readout == "linear"), None)
    return _level("start", "Vision layer", scale.level("vision"), read.balanced_accuracy if read else None)


def _last(record: Record, scale: _Scale) -> Step:
    mapped = record.answers.mapped if record.answers else None
    return _level("answers", "Answer", scale.level("answers"), mapped.get("plain") if mapped else None)


def _level(name: str, label: str, value: float, measured: Interval | None) -> Step:
    low, high = (100 * measured.low, 100 * measured.high) if measured else (value, value)
    return Step(name, label, "level", value, value, low, high)


def _draw(found: Sequence[Step], chance: float, width: float) -> Figure:
    narrow = drawing.is_narrow(width)
    height = sum(_height(step) for step in found)
    figure = Figure(figsize=(width, 1.5 + (0.46 if narrow else 0.4) * height), layout="constrained")
    axes = figure.add_subplot()
    places, top = [], 0.0
    for step in found:
        places.append(top + _height(step) / 2)
        top += _height(step)
    for step, place in zip(found, places, strict=True):
        _draw_step(axes, step, place)
    for (step, place), (after, below) in pairwise(zip(found, places, strict=True)):
        level = step.start if (step.kind, after.kind) == ("term", "part") else step.end
        axes.plot([level, level], [place, below], color=GREY, linewidth=0.7, zorder=1)
    axes.axvline(chance, color=BLACK, linestyle=(0, (5, 3)), linewidth=1)
    axes.set_xlim(*drawing.reach([chance, *(x for s in found for x in (s.start, s.end, s.low, s.high))], 3))
    axes.set_ylim(top, 0)
    axes.set_yticks(places, [_row_name(s) for s in found], fontsize=8.5 if narrow else 9)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("balanced accuracy (%)", fontsize=8.5)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    _write_losses(axes, found, places, narrow)
    _dress(figure, axes, found, narrow)
    return figure


def _height(step: Step) -> float:
    return 0.8 if step.kind == "part" else 1.0


def _row_name(step: Step) -> str:
    if step.kind == "part":
        return f"· {step.label}"
    return f"{step.label}\n(named)" if step.named else step.label


def _draw_step(axes: Axes, step: Step, place: float) -> None:
    if step.named:
        axes.axhspan(place - 0.5, place + 0.5, color=_NAMED, zorder=0)
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


def _write_losses(axes: Axes, found: Sequence[Step], places: Sequence[float], narrow: bool) -> None:
    right = axes.twinx()
    right.set_ylim(axes.get_ylim())
    right.set_yticks(places, [_said(step, narrow) for step in found], fontsize=7.5 if narrow else 8.5)
    right.tick_params(axis="y", length=0)
    right.spines["right"].set_visible(False)
    axes.annotate(
        "points lost\n(95% interval)",
        (1, 1),
        xytext=(4, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        va="bottom",
        fontsize=8,
        color=GREY,
    )
    for step, left, label in zip(found, axes.get_yticklabels(), right.get_yticklabels(), strict=True):
        if step.named:
            left.set_fontweight("bold")
            label.set_fontweight("bold")
        if step.kind == "part":
            left.set_fontsize(8)
            left.set_color("#444444")


def _said(step: Step, narrow: bool) -> str:
    if step.kind == "absent":
        return "not assessed"
    if step.kind == "level":
        value, low, high = step.end, step.low, step.high
        return f"at {value:.1f}%" + (f" ({low:.1f} to {high:.1f})" if high > low and not narrow else "")
    low, high = step.start - step.high, step.start - step.low
    return f"{signed(step.lost)}{chr(10) if narrow else ' '}({signed(low)} to {signed(high)})"


def signed(value: float) -> str:
    """Write a number of points with one decimal, a true minus sign and no negative zero."""
    rounded = round(value, 1) + 0.0
    return f"{rounded:.1f}".replace("-", "−")


def _dress(figure: Figure, axes: Axes, found: Sequence[Step], narrow: bool) -> None:
    terms = [step for step in found if step.kind in ("term", "part")]
    handles: list[Patch | Line2D] = []
    if any(s.significant and s.lost >= 0 for s in terms):
        handles.append(Patch(facecolor=VERMILLION, label="significant loss"))
    if any(s.lost >= 0 and not s.significant for s in terms):
        handles.append(Patch(facecolor="#AAAAAA", label="loss, not significant or a part"))
    if any(s.lost < 0 for s in terms):
        handles.append(Patch(facecolor=SKY, label="gain: easier to read after it"))
    if any(s.named for s in terms):
        handles.append(Patch(facecolor="white", edgecolor=BLACK, hatch="////", label="the named stage"))
    handles.append(Line2D([], [], color=BLACK, linestyle=(0, (5, 3)), linewidth=1, label="chance"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=1 if narrow else 3, fontsize=8, frameon=False
    )
