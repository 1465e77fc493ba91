"""Find the severity at which a fault costs what it is to cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Dose:
    """A severity and the drop in points that was measured with it."""

    severity: float
    drop: float


def find_dose(
    measure: Callable[[float], float],
    target: float,
    high: float,
    *,
    tolerance: float = 0.5,
    attempts: int = 10,
    limit: float = 1e6,
) -> Dose:
    """Find the severity at which `measure` gives `target`, by halving between 0 and a severity that exceeds it.

    `measure` is taken to rise with severity and to be 0 at severity 0. `high` is a first guess, doubled
    until it is enough. Ends within `tolerance` of the target or with the nearest of all that were
    measured, which is also what comes back where no severity up to `limit` is enough.
    """
    tried: list[Dose] = []

    def attempt(severity: float) -> Dose:
        tried.append(Dose(severity, measure(severity)))
        return tried[-1]

    low, top = Dose(0.0, 0.0), attempt(high)
    while top.drop < target - tolerance and top.severity * 2 <= limit:
        low, top = top, attempt(top.severity * 2)
    for _ in range(attempts):
        nearest = _nearest(tried, target)
        if abs(nearest.drop - target) <= tolerance or top.drop < target:
            break
        middle = attempt((low.severity + top.severity) / 2)
        low, top = (middle, top) if middle.drop < target else (low, middle)
    return _nearest(tried, target)


def _nearest(tried: list[Dose], target: float) -> Dose:
    return min(tried, key=lambda dose: abs(dose.drop - target))
