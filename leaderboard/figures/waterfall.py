"""The waterfall: from the reference's accuracy down, stage by stage, to that of the answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from leaderboard.figures import svg
from leaderboard.figures.svg import Drawing, Figure, Scale
from leaderboard.figures.waterfall_steps import Step, steps
from leaderboard.record.record import Record
from leaderboard.words import points

_SPAN = 20  # points of accuracy that are shown at least, so that small losses look small
_TOP, _BOTTOM = 46, 36
_LEGEND = (
    ("loss", "significant loss"),
    ("other", "other loss (not significant, or a part)"),
    ("gain", "gain: easier to read after it"),
    ("named", "the named stage"),
    ("chance", "chance"),
)


@dataclass(frozen=True)
class _Size:
    """Widths in pixels: of the whole, of the rows' names, and of what is written beside them."""

    width: float
    left: float
    right: float


_WIDE, _NARROW = _Size(svg.WIDE, 120, 150), _Size(svg.NARROW, 94, 108)


def waterfall_figure(record: Record) -> Figure | None:
    """Return the waterfall, or None where the record has no levels to draw it from."""
    found = steps(record)
    if not found:
        return None
    chance = 100 / len(record.task.classes)
    said = "; ".join(_in_words(step) for step in found if step.kind in ("level", "term"))
    wide, narrow = (
        Drawing(size.width, _heights(found, size)[-1] + _BOTTOM, _drawn(found, chance, size))
        for size in (_WIDE, _NARROW)
    )
    return Figure(
        "Where accuracy is lost between image and answer",
        f"Balanced accuracy in percent, chance is {chance:.1f}. {said}.",
        wide,
        narrow,
        _legend(found, chance),
    )


def _in_words(step: Step) -> str:
    if step.kind == "level":
        return f"{step.label} {points(step.end)}"
    return f"{step.label} {'loses' if step.lost >= 0 else 'gains'} {points(abs(step.lost))} points"


def _legend(found: Sequence[Step], chance: float) -> tuple[tuple[str, str], ...]:
    terms = [step for step in found if step.kind in ("term", "part")]
    shown = {_colour(step) for step in terms}
    if not _is_far(found, chance):
        shown.add("chance")
    if any(step.named for step in terms):
        shown.add("named")
    return tuple(row for row in _LEGEND if row[0] in shown)


def _colour(step: Step) -> str:
    if step.lost < 0:
        return "gain"
    return "loss" if step.significant else "other"


def _heights(found: Sequence[Step], size: _Size) -> list[float]:
    """Return where every row starts, and where the last one ends."""
    tall = 35 if size is _NARROW else 30
    edges = [float(_TOP)]
    for step in found:
        edges.append(edges[-1] + (tall - 4 if step.kind == "part" else tall))
    return edges


def _scale(found: Sequence[Step], size: _Size, chance: float) -> Scale:
    """Return a scale that holds every bar, and chance where that is not far below.

    With chance far off, a common scale would leave a loss of a few points too thin to see.
    """
    low, high = _reach(found)
    if not _is_far(found, chance):
        low, high = min(low, chance - 2), max(high, chance + 2)
    return Scale(low, high, size.left, size.width - size.right)


def _reach(found: Sequence[Step]) -> tuple[float, float]:
    shown = [x for step in found for x in (step.start, step.end, step.low, step.high)]
    low, high = min(shown) - 1.5, max(shown) + 1.5
    return min(low, high - _SPAN), high


def _is_far(found: Sequence[Step], chance: float) -> bool:
    low, high = _reach(found)
    return low - chance >= (high - low) / 2


def _drawn(found: Sequence[Step], chance: float, size: _Size) -> str:
    edges, scale = _heights(found, size), _scale(found, size, chance)
    middles = [(above + below) / 2 for above, below in pairwise(edges)]
    drawn, joins = "", ""
    for step, (above, below) in zip(found, pairwise(edges), strict=True):
        if step.named:
            drawn += svg.rectangle(0, above, (size.width, below - above), "named-row")
    drawn += _axis(scale, edges[-1], chance, size)
    for (step, y), (after, below) in pairwise(zip(found, middles, strict=True)):
        level = step.start if (step.kind, after.kind) == ("term", "part") else step.end
        joins += f"M{svg.digits(scale.at(level))},{svg.digits(y)}V{svg.digits(below)}"
    drawn += svg.path(joins, "join")
    return drawn + "".join(_row(step, y, scale, size) for step, y in zip(found, middles, strict=True))


def _axis(scale: Scale, bottom: float, chance: float, size: _Size) -> str:
    step = _tick_step(scale, size)
    ticks = range(math.ceil(scale.low / step) * step, math.floor(scale.high) + 1, step)
    lines = "".join(f"M{svg.digits(scale.at(tick))},{_TOP}V{svg.digits(bottom)}" for tick in ticks)
    drawn = svg.path(lines, "grid")
    drawn += "".join(
        svg.text(f"{tick}%", scale.at(tick), bottom + 13, text_anchor="middle") for tick in ticks
    )
    middle = (scale.start + scale.end) / 2
    drawn += svg.text("balanced accuracy", middle, bottom + 29, text_anchor="middle")
    for line, words in enumerate(("points lost", "(95% interval)")):
        drawn += svg.text(words, size.width - size.right + 10, 25 + 13 * line, class_="soft")
    if chance < scale.low:
        return drawn + svg.text(f"◂ chance {chance:.0f}%", 2, bottom + 13, class_="soft")
    upright = f"M{svg.digits(scale.at(chance))},{_TOP}V{svg.digits(bottom)}"
    return drawn + svg.path(upright, "chance")


def _tick_step(scale: Scale, size: _Size) -> int:
    wanted = (scale.high - scale.low) / (4 if size is _NARROW else 8)
    return next((step for step in (5, 10, 20) if step >= wanted), 25)


def _row(step: Step, y: float, scale: Scale, size: _Size) -> str:
    weight = "strong" if step.named else "soft" if step.kind == "part" else "plain"
    name = f"· {step.label}" if step.kind == "part" else f"{step.label} (named)" if step.named else step.label
    labels = svg.lines(
        name.replace(" (named)", "\n(named)") if size is _NARROW else name, 2, y, class_=weight
    )
    labels += svg.lines(_said(step, size), size.width - size.right + 10, y, class_=weight)
    if step.kind == "absent":
        return labels
    said = f"{step.label}: {_said(step, _WIDE)}{'' if step.kind == 'level' else ' points lost'}"
    ends = svg.path(svg.flat_whisker(y, scale.at(step.low), scale.at(step.high)), "ends answer")
    if step.kind == "level":
        drawn = ends + svg.path(svg.diamond(scale.at(step.end), y, 5), "point answer")
    else:
        drawn = _bar(step, y, scale) + ends
    return svg.mark(drawn, said) + labels


def _bar(step: Step, y: float, scale: Scale) -> str:
    left, right = sorted((scale.at(step.start), scale.at(step.end)))
    half = 4.5 if step.kind == "part" else 8
    box = (max(right - left, 0.6), 2 * half)
    bar = svg.rectangle(left, y - half, box, f"drop {_colour(step)}")
    return bar + svg.rectangle(left, y - half, box, "named") if step.named else bar


def _said(step: Step, size: _Size) -> str:
    if step.kind == "absent":
        return "not assessed"
    narrow = size is _NARROW
    if step.kind == "level":
        ends = f" ({step.low:.1f} to {step.high:.1f})" if step.high > step.low and not narrow else ""
        return f"at {step.end:.1f}%{ends}"
    low, high, gap = step.start - step.high, step.start - step.low, "\n" if narrow else " "
    return f"{points(step.lost)}{gap}({points(low)} to {points(high)})"
