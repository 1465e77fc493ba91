"""How long each step of a run took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

# What a step is called where a person reads it; the others go by their own names.
_SPOKEN = {"answer": "answers", "observe": "answers and features", "probe": "probes"}


@dataclass
class Timing:
    """Seconds of wall time by step; the one thing here that changes while a run goes on."""

    started: datetime
    seconds: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Add the time of this block to a step."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.monotonic() - begun

    def total(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._begun


def time_by_step(seconds: Mapping[str, float], total: float) -> str:
    """Say how long each step took, in the order of the steps; what took no tenth of a second is left out.

    For example "load 7 s, answers 25 s, floors 40 s, verdict 0.6 s; in all 75 s".
    """
    spoken = [
        f"{_SPOKEN.get(step, step.replace('_', ' '))} {_seconds(spent)}"
        for step, spent in seconds.items()
        if spent >= 0.1
    ]
    return f"{', '.join(spoken)}; in all {_seconds(total)}".removeprefix("; ")


def _seconds(spent: float) -> str:
    return f"{spent:.0f} s" if spent >= 9.5 else f"{spent:.1f} s"
