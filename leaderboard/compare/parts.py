"""What is compared beside the accuracy: paired changes of balanced accuracy, health and drops.

All of it is secondary: it says where a change comes from and never decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leaderboard.compare.contrasts import BOOTSTRAP, DRAWS, two_sided_p
from leaderboard.compare.measured import Measured
from leaderboard.scoring.answers import predicted_classes
from probes.stats.bootstrap import ClusterBootstrap, interval
from probes.stats.metrics import balanced_accuracy

Floats = NDArray[np.float64]
Unit = Literal["share", "score", "chance-corrected"]

_ROUNDING = 1e-12  # differences of equal means need not be 0 to the last bit


@dataclass(frozen=True)
class Change:
    """One quantity in both runs, and the candidate minus the baseline on the same resamples of the images.

    `low` and `high` are the 95% interval of this one change; `p` is two-sided; `p_adjusted` is Holm's over
    every test of the whole comparison. `better` tells which direction is an improvement. `noise_limited` is
    that of either Feature Health Score, null elsewhere.
    """

    name: str
    unit: Unit
    better: Literal["higher", "lower"]
    baseline: float
    candidate: float
    value: float
    low: float
    high: float
    p: float
    p_adjusted: float
    test: str
    noise_limited: bool | None = None


@dataclass(frozen=True)
class LeftOut:
    """What could not be compared, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Pair:
    """Two results on the same test images; `groups` are the baseline's, whose names serve for both."""

    baseline: Measured
    candidate: Measured

    @property
    def sides(self) -> tuple[Measured, Measured]:
        """The baseline, then the candidate."""
        return self.baseline, self.candidate

    @property
    def groups(self) -> list[str]:
        """Each test image's group. A resample of one naming would not be the same resample of another."""
        return [line.group for line in self.baseline.test]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Each test image's class."""
        return np.array([line.label for line in self.baseline.test], dtype=np.int64)

    @property
    def probes_differ(self) -> str | None:
        """Why the probes of the two tell nothing about a change of the model, or None."""
        for split in ("train", "val"):
            baseline, candidate = (
                [(line.id, line.pixel_hash, line.label) for line in side.samples if line.split == split]
                for side in self.sides
            )
            if baseline != candidate:
                return (
                    f"the probes learned from other images: {len(baseline)} of {split} in the baseline, "
                    f"{len(candidate)} in the candidate, or not the same ones"
                )
        return None


def paired_change(
    name: str,
    unit: Unit,
    better: Literal["higher", "lower"],
    values: tuple[float, float],
    draws: tuple[Floats, Floats],
    groups: int,
    *,
    unseen: float = 1.0,
) -> Change:
    """Summarise a quantity of baseline and candidate and its draws (draws,) on the same resamples.

    Where the draws have no spread, as where no image tells the runs apart, the interval is that of the rule of
    three, as in `leaderboard.compare.contrasts.paired_difference`; `unseen` is what the quantity would differ by if
    every image told them apart.
    """
    gaps = draws[1] - draws[0]
    value = values[1] - values[0]
    low, high = interval(gaps, value)
    if np.ptp(gaps) < _ROUNDING:
        low, high = value - 3 * unseen / groups, value + 3 * unseen / groups
    p = two_sided_p(gaps, groups)
    return Change(
        name=name,
        unit=unit,
        better=better,
        baseline=values[0],
        candidate=values[1],
        value=value,
        low=min(low, value),
        high=max(high, value),
        p=p,
        p_adjusted=p,
        test=BOOTSTRAP,
    )


def balanced_accuracy_change(pair: Pair, *, seed: int = 0) -> Change:
    """Compare the balanced accuracy of the headline answers."""
    predicted = np.stack([predicted_classes(side.test) for side in pair.sides])
    resamples = ClusterBootstrap.of(pair.groups, draws=DRAWS, seed=seed)
    values = balanced_accuracy(pair.labels, predicted)
    draws = resamples.balanced_accuracy(pair.labels, predicted)
    return paired_change(
        "balanced_accuracy",
        "share",
        "higher",
        (float(values[0]), float(values[1])),
        (draws[:, 0], draws[:, 1]),
        resamples.groups,
    )
