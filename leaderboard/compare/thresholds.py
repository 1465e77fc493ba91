"""What a gate holds against a candidate, from a small YAML: the level, and the smallest drop that counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leaderboard.record.record import RecordError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from tasks.document import Node
    from tasks.spec import Problem


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class TaskThresholds(_Strict):
    """What holds for one task in place of the general value; null leaves that as it is."""

    smallest_regression: float | None = Field(default=None, ge=0, le=100)


class Thresholds(_Strict):
    """What stops a release.

    `level` is that of the accuracy tests of all tasks together, two-sided, after Holm. `smallest_regression`
    is in points of accuracy: a significant drop smaller than it is reported and stops nothing. `readout` are
    the probes whose health is compared beside. `tasks` overrides by task id.
    """

    level: float = Field(default=0.05, gt=0, le=0.5)
    smallest_regression: float = Field(default=0.0, ge=0, le=100)
    readout: Literal["linear", "paper"] = "linear"
    tasks: Mapping[str, TaskThresholds] = {}

    def smallest_regression_of(self, task: str) -> float:
        """Return the smallest drop that stops a release on this task, in points."""
        own = self.tasks[task].smallest_regression if task in self.tasks else None
        return self.smallest_regression if own is None else own


def read_thresholds(path: Path) -> Thresholds:
    """Read and check a thresholds file.

    Raises:
        RecordError: it cannot be read, is no YAML, or holds a key or value that means nothing; the message
            names file, line and key.
    """
    from tasks.document import read_document
    from tasks.spec import TaskError

    try:
        document = read_document(path)
    except TaskError as error:
        raise RecordError("; ".join(str(error).splitlines())) from error
    try:
        return Thresholds.model_validate(document.plain())
    except ValidationError as error:
        found = [_problem(details, document) for details in error.errors(include_url=False)]
        in_order = sorted(found, key=lambda problem: problem.line or 0)
        raise RecordError("; ".join(map(str, in_order))) from error


def _problem(details: ErrorDetails, document: Node) -> Problem:
    """Say what is wrong with one key, at its place in the file."""
    from tasks.problems import did_you_mean, dotted

    node = document
    for part in details["loc"]:
        node = node.child(part) or node
    message = details["msg"].replace("Input should be", "must be")
    if details["type"] == "extra_forbidden":
        known = (Thresholds if len(details["loc"]) == 1 else TaskThresholds).model_fields
        message = "unknown key" + (
            did_you_mean(details["loc"][-1], known) or f"; known are {', '.join(known)}"
        )
    return node.problem(dotted(details["loc"]), message)
