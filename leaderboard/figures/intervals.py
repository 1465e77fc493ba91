"""Dots with intervals, row by row: ways to ask, health beside its noise, and what else has an interval."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.figures import svg
from leaderboard.figures.svg import Drawing, Figure, Scale
from leaderboard.record.parts import Interval
from leaderboard.record.record import HealthProfile, ModuleHealthPart, Record
from leaderboard.words import ends, interval, number, points

_ORDER = re.compile(r"\d+(?:-\d+)*")
_GROUPS = {  # kind by what is varied
    "wording of the question": "blue",
    "order of the options": "orange",
    "letter of the right option": "vermillion",
    "no image": "answer",
}
_MODULES = {  # kind and name
    "vision": ("vision-mean", "vision encoder"),
    "connector": ("connector-mean", "connector"),
    "llm": ("llm-last", "language model"),
    "llm_mean": ("llm-mean", "its image tokens"),
}
_OFFSET = 0.18  # of a row, between its middle and each of two dots


@dataclass(frozen=True)
class Dot:
    """A value with its interval on its panel's axis; `hollow` where it says nothing by itself."""

    kind: str
    value: float
    low: float
    high: float
    said: str
    hollow: bool = False


@dataclass(frozen=True)
class Panel:
    """A column of a chart: for each row its dots, or words that stand for them, and words on the right.

    `ends` are those of the axis, `levels` values that are marked in all rows, with their kind of line.
    """

    title: str
    axis: str
    ends: tuple[float, float]
    rows: Sequence[Sequence[Dot] | str]
    levels: Sequence[tuple[float, str]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Block:
    """Panels side by side that share the names of their rows; `strong` rows are headings."""

    names: Sequence[str]
    panels: Sequence[Panel]
    title: str = ""
    strong: frozenset[int] = frozenset()


def reach(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Return the ends of a percent axis that shows all values with a margin, within 0 and 100 where they are."""
    low, high = min(values) - margin, max(values) + margin
    return (max(low, -2.0) if min(values) >= 0 else low), (min(high, 102.0) if max(values) <= 100 else high)


def percents(kind: str, value: Interval, name: str, *, hollow: bool = False) -> Dot:
    """Return the dot of a share on an axis in percent."""
    held = (100 * value.value, 100 * value.low, 100 * value.high)
    return Dot(kind, *held, f"{name}: {interval(value)}", hollow)


def chart(blocks: Sequence[Block], width: float, row: float = 24) -> Drawing:
    """Draw blocks below each other, rows at least this high in pixels; every panel keeps room for its notes."""
    row = max(row, 6 + 13 * max(name.count("\n") + 1 for block in blocks for name in block.names))
    lengths = [
        len(line) * (1.2 if place in block.strong else 1)  # bold letters are wider
        for block in blocks
        for place, name in enumerate(block.names)
        for line in name.split("\n")
    ]
    left = 10 + svg.LETTER * max(lengths)
    across = max(len(block.panels) for block in blocks)
    content, top = "", 16.0
    for block in blocks:
        if block.title:
            content += svg.text(block.title, 2, top + 12, class_="strong")
            top += 20
        head = 13 * max(len(panel.title.split("\n")) if panel.title else 0 for panel in block.panels) + 4
        bottom = top + head + row * len(block.names)
        for place, name in enumerate(block.names):
            y = top + head + row * (place + 0.5)
            kind = "strong" if place in block.strong else "plain"
            content += svg.lines(name, left - 8, y, text_anchor="end", class_=kind)
        step = (width - left) / across
        for place, panel in enumerate(block.panels):
            start = left + step * place
            notes = svg.LETTER * max((len(note) for note in panel.notes), default=0)
            x = Scale(*panel.ends, start + 6, start + step - 10 - notes)
            content += _panel(panel, x, (top + head, bottom), row)
        top = bottom + (32 if any(panel.axis for panel in block.panels) else 20)
    return Drawing(width, top + 2, content)


def _panel(panel: Panel, x: Scale, upright: tuple[float, float], row: float) -> str:
    top, bottom = upright
    middle, drawn = (x.start + x.end) / 2, ""
    for place, line in enumerate(reversed(panel.title.split("\n"))):
        drawn += svg.text(line, middle, top - 5 - 13 * place, text_anchor="middle", class_="soft")
    ticks = x.ticks(max(2, int((x.end - x.start) / 40)))
    whole = f"{svg.digits(top)}V{svg.digits(bottom)}"
    drawn += svg.path("".join(f"M{svg.digits(x.at(t))},{whole}" for t in ticks), "grid")
    drawn += "".join(svg.text(svg.tick(t), x.at(t), bottom + 13, text_anchor="middle") for t in ticks)
    drawn += (
        svg.text(panel.axis, middle, bottom + 27, text_anchor="middle", class_="soft") if panel.axis else ""
    )
    for value, kind in panel.levels:
        drawn += svg.path(f"M{svg.digits(x.at(value))},{whole}", kind)
    for place, held in enumerate(panel.rows):
        y = top + row * (place + 0.5)
        drawn += svg.path(f"M{svg.digits(x.start)},{svg.digits(y)}H{svg.digits(x.end)}", "grid")
        if isinstance(held, str):
            drawn += svg.text(held, middle, y - 2, text_anchor="middle", class_="soft small")
            continue
        beside = [0.0] if len({dot.kind for dot in held} - {"noise"}) < 2 else [-_OFFSET, _OFFSET]
        for number_of, dot in enumerate(held):
            drawn += _dot(dot, x, y + row * beside[number_of % len(beside)])
    for place, note in enumerate(panel.notes):
        drawn += svg.text(note, x.end + 8, top + row * (place + 0.5) + 4) if note else ""
    return drawn


def _dot(dot: Dot, x: Scale, y: float) -> str:
    marker = svg.dot(dot.kind, x.at(dot.value), y)
    if dot.hollow:
        marker = svg.element("circle", cx=x.at(dot.value), cy=y, r=3.4, class_=f"point hollow {dot.kind}")
    spread = svg.path(svg.flat_whisker(y, x.at(dot.low), x.at(dot.high)), f"ends {dot.kind}")
    return svg.mark((spread if dot.high > dot.low else "") + marker, dot.said)


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


def spread_figure(record: Record) -> Figure | None:
    """Return the accuracy of every way to ask as a dot with its 95% interval; None without answers."""
    found = variants(record)
    if not found or record.answers is None:
        return None
    majority = 100 * record.answers.majority_accuracy
    shown = [majority, *(100 * x for v in found for x in (v.accuracy.low, v.accuracy.high))]
    rows = [[percents(_GROUPS[v.group], v.accuracy, svg.fitted(v.name, 48, 1))] for v in found]
    panel = Panel("", "accuracy (%)", reach(shown, 3), rows, [(majority, "majority")])
    names = [svg.fitted(v.name, 48, 1) for v in found], [svg.fitted(v.short, 22, 1) for v in found]
    held = {v.group for v in found}
    return Figure(
        "How much the wording and the order of the options matter",
        f"Accuracy in percent: {'; '.join(f'{v.name} {points(100 * v.accuracy.value)}' for v in found)}.",
        chart([Block(names[0], [panel])], svg.WIDE),
        chart([Block(names[1], [panel])], svg.NARROW),
        (
            *((kind, group) for group, kind in _GROUPS.items() if group in held),
            ("majority", "majority class"),
        ),
        (),
        (
            ("varied", "asked", "accuracy in percent"),
            tuple((v.group, v.name, f"{points(100 * v.accuracy.value)} ({ends(v.accuracy)})") for v in found),
        ),
    )


def modules(profile: HealthProfile) -> tuple[tuple[str, ModuleHealthPart], ...]:
    """Return the profile's modules by name, in the order in which an image passes them."""
    return tuple((name, getattr(profile, key)) for key, (_, name) in _MODULES.items())


def health_figure(record: Record, beside: Sequence[Record] = ()) -> Figure | None:
    """Return the health profile, each score beside that of a flat curve with the same noise.

    Args:
        record: whose profile; None is returned where it has none.
        beside: records beside which it is to be read: all their values fit the axis too.
    """
    if record.health is None:
        return None
    held = [one.health for one in (record, *beside) if one.health is not None]
    shown = [x for one in held for _, part in modules(one) for x in (part.low, part.high, part.fhs_noise)]
    margin = 0.06 * max(max(shown) - min(shown), 0.2)
    rows = []
    for key, (kind, name) in _MODULES.items():
        part: ModuleHealthPart = getattr(record.health, key)
        noise = f"{name}, a flat curve with the same noise: {number(part.fhs_noise)}"
        rows.append(
            [
                Dot("noise", part.fhs_noise, part.fhs_noise, part.fhs_noise, noise),
                health_dot(kind, part, name),
            ]
        )
    panel = Panel("", "Feature Health Score", (min(shown) - margin, max(shown) + margin), rows)
    found = modules(record.health)
    names = [f"{name}\n(noise-limited)" if part.noise_limited else name for name, part in found]
    said = "; ".join(
        f"{name} {number(part.fhs)} ({number(part.low)} to {number(part.high)}), flat curve "
        f"{number(part.fhs_noise)}{', noise-limited' if part.noise_limited else ''}"
        for name, part in found
    )
    legend = [("noise", "a flat curve with the same noise"), ("score", "score, 95% interval")]
    legend += [("hollow", "noise-limited: not to be ranked")] * any(part.noise_limited for _, part in found)
    block = [Block(names, [panel])]
    return Figure(
        "How healthy each module's features are, against noise",
        f"Feature Health Score with its 95% interval: {said}.",
        chart(block, svg.WIDE, 30),
        chart(block, svg.NARROW, 30),
        tuple(legend),
    )


def health_dot(kind: str, part: ModuleHealthPart, name: str) -> Dot:
    """Return the dot of a module's Feature Health Score, hollow where it is limited by noise."""
    said = f"{name}: {number(part.fhs)} ({number(part.low)} to {number(part.high)})"
    limited = ", noise-limited" if part.noise_limited else ""
    return Dot(kind, part.fhs, part.low, part.high, said + limited, part.noise_limited)
