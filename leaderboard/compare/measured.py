"""A result as it is compared with others: its record and the lines that its scores come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

from leaderboard.record.record import Record, RecordError, read_record
from leaderboard.record.samples import ProbeLine, SampleLine, parse_lines, read_lines
from leaderboard.record.untrusted import read_packed
from tasks.sources import SplitName

_MOST_BYTES = 2**31  # of unpacked lines
_AnyLine = TypeVar("_AnyLine", SampleLine, ProbeLine)


@dataclass(frozen=True)
class Measured:
    """A result and the lines that its scores come from.

    `name` is the model's, with "@" and the condition where that is not released. `samples` are of all splits;
    `probes` are empty where nothing was probed.
    """

    name: str
    record: Record
    samples: tuple[SampleLine, ...] = field(repr=False)
    probes: tuple[ProbeLine, ...] = field(repr=False)

    @property
    def test(self) -> tuple[SampleLine, ...]:
        """The lines of the test images, in the order of the probes' predictions."""
        return tuple(line for line in self.samples if line.split == "test")


def read_measured(folder: Path) -> Measured:
    """Read `record.json`, `samples.jsonl` and `probes.jsonl` of a result folder, or of a board's entry.

    Raises:
        RecordError: a file is missing, breaks its schema, or does not fit the others; the message names it.
    """
    record = read_record(folder / "record.json")
    samples = _lines(folder / "samples.jsonl", SampleLine)
    probes = _lines(folder / "probes.jsonl", ProbeLine)
    counted = Counter(line.split for line in samples)
    _check_samples(folder / "samples.jsonl", counted["test"], record)
    _check_probes(folder / "probes.jsonl", probes, counted)
    return Measured(record.full_name, record, samples, probes)


def _lines(path: Path, kind: type[_AnyLine]) -> tuple[_AnyLine, ...]:
    """Read lines, which an entry holds compressed."""
    packed = path.with_name(f"{path.name}.gz")
    if path.exists() or not packed.exists():
        return tuple(read_lines(path, kind))
    return tuple(parse_lines(read_packed(packed, _MOST_BYTES), kind, packed))


def check_comparable(first: Measured, second: Measured) -> None:
    """Refuse results that are not of one task and the same test images in the same groups.

    Raises:
        RecordError: the message names the first difference.
    """
    both = f"{first.name} and {second.name} cannot be compared"
    for what in ("name", "version", "classes"):
        a, b = (getattr(measured.record.task, what) for measured in (first, second))
        if a != b:
            raise RecordError(f"{both}: task {what} {a!r} and {b!r}; evaluate both on one task")
    way_out = "evaluate both on the same test images, with the same --limit"
    for number, (one, other) in enumerate(zip_longest(first.test, second.test), start=1):
        if one is None or other is None:
            raise RecordError(f"{both}: {len(first.test)} and {len(second.test)} test images; {way_out}")
        for what in ("id", "pixel_hash", "label"):
            a, b = getattr(one, what), getattr(other, what)
            if a != b:
                raise RecordError(
                    f"{both}: test image {number} ({one.id}): {what} {a!r} and {b!r}; {way_out}"
                )
    _check_groups(both, first.test, second.test)


def _check_samples(path: Path, count: int, record: Record) -> None:
    if count == 0:
        raise RecordError(f"{path}: no line of a test image; run the evaluation again")
    if record.status != "partial" and count != record.task.n_test:
        raise RecordError(
            f"{path}: {count} test images, but record.json says {record.task.n_test}; "
            "are both of one run? If not, run the evaluation again"
        )


def _check_probes(path: Path, probes: Sequence[ProbeLine], counted: Mapping[SplitName, int]) -> None:
    for number, line in enumerate(probes, start=1):
        if len(line.predictions) != counted[line.split]:
            raise RecordError(
                f"{path}:{number}: {len(line.predictions)} predictions at {line.site} on {line.split}, but "
                f"samples.jsonl has {counted[line.split]} images of it; are both of one run?"
            )


def _check_groups(both: str, first: Sequence[SampleLine], second: Sequence[SampleLine]) -> None:
    """Refuse other groups; their names do not matter."""
    seen: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for place, (one, other) in enumerate(zip(first, second, strict=True)):
        if seen[0].setdefault(one.group, place) != seen[1].setdefault(other.group, place):
            raise RecordError(
                f"{both}: test image {place + 1} ({one.id}) is grouped with others in one of them alone; "
                "evaluate both with one version of the harness"
            )
