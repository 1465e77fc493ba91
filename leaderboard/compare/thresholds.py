"""What a gate holds against a candidate, from a small YAML: the level, and the smallest drop that counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from leaderboard.record.record import RecordError
from tasks.document import load_checked


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
    return load_checked(path, Thresholds, RecordError)
