"""Time several ways of doing one thing, turn about, so that a ratio is of one run on one machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spread:
    """The median of some repetitions, and their smallest and largest value."""

    median: float
    low: float
    high: float

    def scaled(self, factor: float) -> Spread:
        """Multiply all three by a positive number."""
        return Spread(self.median * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Laps:
    """Seconds of processor time by way and repetition, and what each way returned in the last one."""

    seconds: Mapping[str, tuple[float, ...]]
    returned: Mapping[str, tuple[Any, ...]]  # one entry a part
    share_of_core: float  # processor time over wall time: 1 on a machine that does nothing else

    def spread(self, way: str) -> Spread:
        """Return the seconds of a way."""
        return _spread(self.seconds[way])

    def rate(self, way: str, count: int) -> Spread:
        """Return how many things a second a way does, `count` being done in each repetition."""
        return _spread([count / seconds for seconds in self.seconds[way]])

    def ratio(self, way: str, over: str) -> Spread:
        """Return a way's seconds over another's, repetition by repetition."""
        return _spread([a / b for a, b in zip(self.seconds[way], self.seconds[over], strict=True)])


def interleave(
    ways: Mapping[str, Callable[[Any], Any]],
    parts: Sequence[Any],
    *,
    repetitions: int,
    warm_up: bool = True,
) -> Laps:
    """Do every part of a work in every way, one way right after the other, and time each.

    The way that goes first changes from part to part. With `warm_up` the first part is done once in
    every way beforehand, untimed.

    Processor time of this process is counted, not wall time: with one thread and nothing to wait for
    they are the same on an idle machine, and on a busy one the former is steadier.
    """
    names = list(ways)
    if warm_up:
        for way in ways.values():
            way(parts[0])
    seconds: dict[str, list[float]] = {name: [] for name in names}
    returned: dict[str, tuple[Any, ...]] = {}
    wall, processor = time.perf_counter(), time.process_time()
    for repetition in range(repetitions):
        total = dict.fromkeys(names, 0.0)
        results: dict[str, list[Any]] = {name: [] for name in names}
        for number, part in enumerate(parts):
            first = (repetition + number) % len(names)
            for name in names[first:] + names[:first]:
                begun = time.process_time()
                results[name].append(ways[name](part))
                total[name] += time.process_time() - begun
        for name in names:
            seconds[name].append(total[name])
        returned = {name: tuple(made) for name, made in results.items()}
    share = (time.process_time() - processor) / (time.perf_counter() - wall)
    return Laps({name: tuple(values) for name, values in seconds.items()}, returned, share)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))
