"""Compute a record again from its lines, and say where it differs from what it declares.

What needs the features or the model itself (permuted labels, similarity, the random encoder, the causal check)
cannot be computed from lines: it is taken over and called declared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from leaderboard.record.record import Record, RecordError
from leaderboard.record.untrusted import printable, short
from leaderboard.scoring.score import Declared, Lines, Scores, score
from tasks.spec import TaskSpec

TOLERANCE = 1e-6  # of a share or a score: two machines round sums differently
DRAW_TOLERANCE = 5e-4  # of a p-value or a share of draws: rounding may move some of 10,000 draws
_OF_DRAWS = {"p", "probability_largest", "probabilities", "healthy_probability", "visible_gap"}

# The parts of a record that its lines cannot show, by their keys; `None` parts are not named.
DECLARED = (
    "model",
    "condition",
    "tuning",
    "task.official_data",
    "task.n_train",
    "task.grouped_by",
    "task.dropped_train",
    "task.dropped_val",
    "task.val_cut_from_train",
    "answers.headline_source",
    "permutation",
    "probes.consumed",
    "probes.permutation_p",
    "floors.key",
    "floors.detail",
    "floors.permutation_p",
    "floors.blank",
    "floors.blank_detail",
    "floors.random_vision",
    "floors.random_vision_detail",
    "similarity",
    "projection",
    "causal",
    "causal_detail",
    "configuration",
    "cost",
    "provenance",
)
_OF_EACH_FLOOR = ("floors.detail", "floors.permutation_p")


@dataclass(frozen=True)
class Difference:
    """A field whose declared value does not follow from the lines."""

    field: str
    declared: Any
    recomputed: Any

    def __str__(self) -> str:
        return (
            f"{printable(self.field, 100)}: {short(self.declared)} is declared, but the lines give "
            f"{short(self.recomputed)}"
        )


def recompute(record: Record, lines: Lines, task: TaskSpec) -> Record:
    """Return the record with every part that follows from its lines computed anew.

    Args:
        record: as declared; it must be complete.
        lines: checked by `sample_checks` and `probe_checks`.
        task: the task as the board knows it.

    Raises:
        RecordError: the record lacks a part that its lines need, or has one that they do not give.
    """
    declared = Declared.of(record, task)
    if not lines.probes:
        _refuse_unfounded(record)
    elif declared.floors is None:
        raise RecordError("record.json: floors: null, though probes.jsonl has their lines")
    return record.model_copy(update=vars(score(lines, declared)))


def differences(declared: Record, recomputed: Record) -> Iterator[Difference]:
    """Yield every field in which a record differs from its recomputed self by more than rounding."""
    yield from _differ("", declared.model_dump(mode="json"), recomputed.model_dump(mode="json"))


def declared_parts(record: Record, listed_train: int) -> tuple[str, ...]:
    """Return the names of the record's parts that its lines cannot show, in the order of `DECLARED`.

    Args:
        record: recomputed.
        listed_train: the task's training images; where a run learnt from fewer, which ones is declared.
    """
    content = record.model_dump(mode="json")
    if record.task.n_train == listed_train:
        content["task"]["n_train"] = None
    return tuple(name for name in DECLARED if _is_there(content, name))


def _refuse_unfounded(record: Record) -> None:
    """Without probes' lines nothing that is made of them may be declared."""
    scored = [part.name for part in fields(Scores) if part.name != "answers"]
    for name in (*scored, "permutation", "projection", "causal"):
        if getattr(record, name):
            raise RecordError(f"record.json: {name}: declared, but probes.jsonl is empty")


def _differ(place: str, declared: Any, recomputed: Any) -> Iterator[Difference]:
    if isinstance(declared, dict) and isinstance(recomputed, dict):
        for key in dict.fromkeys([*declared, *recomputed]):
            where = f"{place}.{key}" if place else key
            yield from _differ(where, declared.get(key), recomputed.get(key))
    elif isinstance(declared, list) and isinstance(recomputed, list) and len(declared) == len(recomputed):
        for index, (one, other) in enumerate(zip(declared, recomputed, strict=True)):
            yield from _differ(f"{place}[{index}]", one, other)
    elif not _alike(place, declared, recomputed):
        yield Difference(place or "record", declared, recomputed)


def _alike(place: str, declared: Any, recomputed: Any) -> bool:
    if isinstance(declared, bool) or isinstance(recomputed, bool):
        return declared is recomputed
    if isinstance(declared, float | int) and isinstance(recomputed, float | int):
        drawn = not _OF_DRAWS.isdisjoint(place.replace("[", ".").split("."))
        tolerance = DRAW_TOLERANCE if drawn else TOLERANCE
        return math.isclose(declared, recomputed, rel_tol=tolerance, abs_tol=tolerance)
    return bool(declared == recomputed)


def _is_there(content: Any, name: str) -> bool:
    """Whether a dotted name leads to anything that is not null, in any element of a list on the way."""
    first, _, rest = name.partition(".")
    if isinstance(content, list):
        return any(_is_there(element, name) for element in content)
    if not isinstance(content, Mapping):
        return False
    if name in _OF_EACH_FLOOR:
        floors = content.get("floors") or {}
        return any(isinstance(f, Mapping) and f.get(rest) is not None for f in floors.values())
    value = content.get(first)
    return _is_there(value, rest) if rest else value is not None
