"""Figures of the answers: how much order and wording matter, how sure the model is, letter by layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from harness.report import drawing
from harness.report.drawing import BLACK, BLUE, GREY, ORANGE, PALE, VERMILLION, Drawing
from leaderboard.record.checks import AnswerTargetPart
from leaderboard.record.parts import Interval
from leaderboard.record.record import AnswersPart, Record, ReliabilityBin

_ORDER = re.compile(r"\d+(?:-\d+)*")
_GROUPS = {  # colour and marker by what is varied
    "wording of the question": (BLUE, "o"),
    "order of the options": (ORANGE, "s"),
    "letter of the right option": (VERMILLION, "^"),
    "no image": (BLACK, "D"),
}


@dataclass(frozen=True)
class Variant:
    """One way to ask, what is varied by it, and the accuracy. `short` is a name for a phone."""

    group: str
    name: str
    short: str
    accuracy: Interval


def variants(record: Record) -> tuple[Variant, ...]:
    """Return every way in which the test images were asked about that the record has an accuracy for."""
    answers = record.answers
    if answers is None:
        return ()
    wordings = [
        Variant("wording of the question", name, name, value)
        for name, value in answers.prompt_accuracies.items()
    ]
    orders = [_ordered(key, value, record.task.classes) for key, value in answers.order_accuracies.items()]
    blank = record.floors.blank if record.floors else None
    last = [Variant("no image", "blank image", "blank image", blank.accuracy)] if blank else []
    ranked = sorted(orders, key=lambda v: list(_GROUPS).index(v.group))
    return (*wordings, *ranked, *last)


def _ordered(key: str, value: Interval, classes: Sequence[str]) -> Variant:
    """Read a key such as "letters/2-0-1", the classes from option A on, or "letters/right at A"."""
    prompt, _, order = key.rpartition("/")
    if not _ORDER.fullmatch(order):
        return Variant("letter of the right option", f"{prompt}: {order}", order, value)
    places = [int(place) for place in order.split("-")]
    if not all(place < len(classes) for place in places):
        return Variant("order of the options", key, order, value)
    named = [classes[place] for place in places]
    cut = [name[: max(2, 20 // len(named) - 2)] for name in named]
    short = ", ".join(cut) if len(set(cut)) == len(cut) else f"classes {order}"
    return Variant("order of the options", f"{prompt}: {', '.join(named)}", short, value)


def spread_drawing(record: Record) -> Drawing | None:
    """Return the accuracy of every way to ask as a dot with its 95% interval; None without answers."""
    found = variants(record)
    if not found or record.answers is None:
        return None
    said = "; ".join(f"{v.name} {100 * v.accuracy.value:.1f}" for v in found)
    return Drawing(
        "spread",
        "How much the wording and the order of the options matter",
        f"Accuracy in percent: {said}.",
        partial(_draw_spread, found, 100 * record.answers.majority_accuracy),
    )


def _draw_spread(found: Sequence[Variant], majority: float, width: float) -> Figure:
    narrow = drawing.is_narrow(width)
    figure = Figure(figsize=(width, 1.6 + (0.3 if narrow else 0.26) * len(found)), layout="constrained")
    axes = figure.add_subplot()
    for group, (colour, marker) in _GROUPS.items():
        rows = [row for row, v in enumerate(found) if v.group == group]
        if not rows:
            continue
        values = [found[row].accuracy for row in rows]
        axes.errorbar(
            [100 * v.value for v in values],
            rows,
            xerr=drawing.errors(values),
            color=colour,
            marker=marker,
            linestyle="none",
            markersize=5.5,
            elinewidth=1.2,
            capsize=2.5,
            label=group,
        )
    axes.axvline(majority, color=BLACK, linestyle=(0, (5, 3)), linewidth=1, label="majority class")
    names = [drawing.shorten(v.short, 22) if narrow else drawing.shorten(v.name, 48) for v in found]
    axes.set_yticks(range(len(found)), names, fontsize=8 if narrow else 8.5)
    axes.set_ylim(len(found) - 0.4, -0.6)
    ends = [100 * x for v in found for x in (v.accuracy.low, v.accuracy.high)]
    axes.set_xlim(*drawing.reach([majority, *ends], 3))
    axes.set_xlabel("accuracy (%)", fontsize=8.5)
    axes.grid(axis="both", color=PALE, linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    drawing.legend_below(figure, axes, 1 if narrow else 3)
    return figure


def reliability_drawing(answers: AnswersPart | None) -> Drawing | None:
    """Return how often the model is right where it is how sure; None where the record has no bins."""
    if answers is None or not answers.reliability:
        return None
    said = "; ".join(
        f"{b.count} images at {100 * b.confidence:.0f}: {100 * b.accuracy:.0f} right"
        for b in answers.reliability
    )
    return Drawing(
        "reliability",
        "How often the model is right where it is how sure",
        f"Confidence and accuracy in percent: {said}.",
        partial(_draw_reliability, answers.reliability),
    )


def _draw_reliability(bins: Sequence[ReliabilityBin], width: float) -> Figure:
    side = min(width, 4.4)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 100], [0, 100], color=BLACK, linestyle=(0, (5, 3)), linewidth=1, label="as sure as right")
    total = sum(b.count for b in bins)
    xs, ys = [100 * b.confidence for b in bins], [100 * b.accuracy for b in bins]
    sizes = [20 + 480 * b.count / total for b in bins]
    axes.scatter(xs, ys, s=sizes, color=BLUE, alpha=0.75, edgecolor="white", zorder=3)
    for x, y, one in zip(xs, ys, bins, strict=True):
        axes.annotate(
            str(one.count),
            (x, y),
            xytext=(0, 7 + 9 * (one.count / total) ** 0.5),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color="#333333",
        )
    axes.set_xlim(-2, 104)
    axes.set_ylim(-4, 112)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("how sure: probability of the answer (%)", fontsize=8.5)
    axes.set_ylabel("how often right (%); numbers: images", fontsize=8.5)
    axes.grid(color=PALE, linewidth=0.6)
    drawing.legend_below(figure, axes, 1)
    return figure


def answer_target_drawing(parts: Sequence[AnswerTargetPart] | None) -> Drawing | None:
    """Return how well each decoder layer tells the right option's letter; None where not measured."""
    if not parts:
        return None
    ordered = sorted(parts, key=lambda part: part.layer)
    said = "; ".join(f"layer {p.layer} {100 * p.accuracy.value:.1f}" for p in ordered)
    return Drawing(
        "answer-target",
        "How well the last prompt token tells the letter of the right option",
        f"Accuracy in percent by decoder layer: {said}. The commonest letter reaches "
        f"{100 * ordered[0].majority:.1f}.",
        partial(_draw_answer_target, ordered),
    )


def _draw_answer_target(parts: Sequence[AnswerTargetPart], width: float) -> Figure:
    narrow = drawing.is_narrow(width)
    figure = Figure(figsize=(width, 3.0 if narrow else 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(-0.4, parts[-1].layer + 0.4)
    for prompt in dict.fromkeys(part.prompt for part in parts):
        same = [part for part in parts if part.prompt == prompt]
        look = (VERMILLION, "s", f"right letter, prompt {drawing.shorten(prompt, 24)}")
        drawing.curve(axes, [part.layer for part in same], [part.accuracy for part in same], look)
    axes.axhline(
        100 * parts[0].majority, color=GREY, linestyle=(0, (5, 3)), linewidth=1.2, label="commonest letter"
    )
    axes.set_ylim(0, 102)
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axes.set_xlabel("decoder layer", fontsize=8.5)
    axes.set_ylabel("accuracy (%)", fontsize=8.5)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    drawing.legend_below(figure, axes, 1 if narrow else 2)
    return figure
