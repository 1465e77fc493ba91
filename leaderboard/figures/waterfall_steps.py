"""The waterfall's rows: what each stage loses, from the reference's accuracy to that of the answers.

In balanced accuracy, the scale of the tests and intervals: A in percent of a right answer rather than of the
way from chance to perfect. On a test set with as many images of each class it is plain accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from leaderboard.record.parts import Interval
from leaderboard.record.record import DiagnosisPart, Drop, GapPart, Record

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
    read = [p for p in record.probes if p.consumed and p.readout == "linear"]
    # Regrouped to the connector's receptive field where a record has that, as the verdict takes it.
    measured = max(read, key=lambda p: p.pool == "regrouped").balanced_accuracy if read else None
    return _level("start", "Vision layer", scale.level("vision"), measured)


def _last(record: Record, scale: _Scale) -> Step:
    mapped = record.answers.mapped if record.answers else None
    return _level("answers", "Answer", scale.level("answers"), mapped.get("plain") if mapped else None)


def _level(name: str, label: str, value: float, measured: Interval | None) -> Step:
    low, high = (100 * measured.low, 100 * measured.high) if measured else (value, value)
    return Step(name, label, "level", value, value, low, high)
