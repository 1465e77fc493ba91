"""A result folder as a report shows it: its record, and what was answered to every test image."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from leaderboard.compare.measured import Measured
from leaderboard.record.record import Record, RecordError, read_record
from leaderboard.record.samples import SampleLine, read_lines
from leaderboard.words import NAME, plain


@dataclass(frozen=True)
class Result:
    """A record, and the lines of its test images.

    `test` is None where there are none, and `reason` then says why.
    """

    record: Record
    test: tuple[SampleLine, ...] | None = field(default=None, repr=False)
    reason: str = "the report was made without the result's folder"

    @property
    def name(self) -> str:
        """The model's name, with "@" and the condition where that is not released."""
        return self.record.full_name

    @property
    def measured(self) -> Measured | None:
        """The result for `leaderboard.compare.contrasts`, without probes; None without test images."""
        return None if self.test is None else Measured(self.name, self.record, self.test, ())


def read_result(folder: Path) -> Result:
    """Read `record.json` and, where there is one, `samples.jsonl` of a result folder.

    Raises:
        RecordError: the record is missing, a file breaks its schema, or the two do not fit; the message names
            the file.
    """
    record = read_record(folder / "record.json")
    path = folder / "samples.jsonl"
    if not path.exists():
        return Result(record, None, "the result folder has no samples.jsonl")
    test = tuple(line for line in read_lines(path, SampleLine) if line.split == "test")
    _check(path, record, test)
    return Result(record, test or None, "samples.jsonl has no line of a test image")


def _check(path: Path, record: Record, test: tuple[SampleLine, ...]) -> None:
    if record.status == "complete" and len(test) != record.task.n_test:
        raise RecordError(
            f"{path}: {len(test)} test images, but record.json says {record.task.n_test}; are both of one run? "
            "If not, run the evaluation again"
        )
    classes = len(record.task.classes)
    for line in test:
        named = (line.label, line.predicted, line.read, *(asked.predicted for asked in line.orders))
        numbers = [one for one in named if one is not None] + [
            k for asked in line.orders for k in asked.order
        ]
        lengths = {
            len(one) for one in (line.scores, *(asked.scores for asked in line.orders)) if one is not None
        }
        if not all(0 <= number < classes for number in numbers) or not lengths <= {classes}:
            raise RecordError(
                f"{path}: image {plain(line.id, NAME)}: names a class, or has scores of one, that the task does "
                f"not have; it has {classes} classes"
            )
