"""Paired comparisons between results on one task, and between places within one result.

Both sides are measured on the same test images, so a comparison goes by their difference image by image.
Images of one group (patient, near-duplicates) may agree in any way: with several images in a group, whole
groups are resampled. Models and probes are held fixed; nothing here speaks of another training run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leaderboard.compare.measured import Measured as Measured
from leaderboard.compare.measured import check_comparable
from leaderboard.compare.measured import read_measured as read_measured
from leaderboard.record.parts import Interval
from leaderboard.record.record import RecordError
from leaderboard.record.samples import ProbeLine, SampleLine
from leaderboard.scoring.probes import by_site, mean_correct
from probes.stats.bootstrap import ClusterBootstrap, interval
from probes.stats.metrics import exact_mcnemar, holm, proportion_estimate

Conclusion = Literal["higher", "lower", "undetermined"]
Floats = NDArray[np.float64]

FINE_TUNING = "fine-tuned against released"
MEDICAL = "medical against base"
REFERENCE = "model against reference"
LAYER = "best layer against consumed layer"
PROBE = "probe against answer"

MCNEMAR = "exact McNemar"
BOOTSTRAP = "paired cluster bootstrap"

LEVEL = 0.05  # of the family, after Holm
DRAWS = 10_000  # the smallest p is 2 in 10,001
ANSWER = "answer"  # the headline answers' name where a place within the model is compared with them

_ROUNDING = 1e-12  # shares of seeds are no exact binary numbers


@dataclass(frozen=True)
class Contrast:
    """The first minus the second, in plain accuracy on the same test images.

    `family` is the question that it answers; `model` is the one that it is about. Differences are shares.
    `low` and `high` are the 95% interval of this one difference, without Holm; so it may leave out 0 where
    the conclusion is "undetermined". `p` is two-sided, `p_adjusted` holds for the whole family.
    """

    family: str
    task: str
    first: str
    second: str
    model: str
    metric: str
    first_value: Interval
    second_value: Interval
    value: float
    low: float
    high: float
    p: float
    p_adjusted: float
    test: str
    n: int
    conclusion: Conclusion


@dataclass(frozen=True, eq=False)
class _Side:
    """One side of a comparison: its name, and how right it is on each test image, shape (images,)."""

    name: str
    correct: Floats


@dataclass(frozen=True)
class Paired:
    """A paired difference: its 95% interval, the two-sided p for no difference, and the test behind it."""

    value: float
    low: float
    high: float
    p: float
    test: str


def answer_contrast(family: str, first: Measured, second: Measured, *, seed: int = 0) -> Contrast:
    """Compare the headline answers of two results, test image by test image.

    Args:
        family: the question that this answers, one of the names above.
        first: the result that the comparison is about.
        second: what it is compared with.
        seed: of the bootstrap.

    Raises:
        RecordError: the two are not of one task and the same test images; the message names the first
            difference.
    """
    check_comparable(first, second)
    sides = (_Side(measured.name, answered_right(measured.test)) for measured in (first, second))
    return _contrast(family, first, *sides, seed=seed)


def layer_contrast(measured: Measured, readout: str = "linear", *, seed: int = 0) -> Contrast | None:
    """Compare the vision layer with the best probe with the one that the connector reads.

    The best is that of the highest accuracy on validation, the earliest where several are: chosen on test it
    would seem better than it is. Layers behind the consumed one take part. All are read by the mean of their
    tokens. None without validation images, or where the consumed layer was not probed.
    """
    layers = _vision_layers(measured, readout)
    consumed = next((lines for lines in layers if lines[0].consumed), None)
    if consumed is None:
        return None
    labels = _labels(measured, "val")
    best = max(layers, key=lambda lines: round(float(_mean_correct(lines, labels, "val").mean()), 9))
    return _contrast(
        LAYER,
        measured,
        _probed(best, measured),
        _probed(consumed, measured),
        seed=seed,
        same=best is consumed,
    )


def probe_contrast(measured: Measured, readout: str = "linear", *, seed: int = 0) -> Contrast | None:
    """Compare the probe at the last prompt token of the last decoder layer with the headline answers.

    None where that place was not probed.
    """
    ends = [
        lines
        for (name, _, pool), lines in by_site(measured.probes).items()
        if (name, pool, lines[0].module) == (readout, "last", "llm")
    ]
    if not ends:
        return None
    last = max(ends, key=lambda lines: lines[0].layer)
    return _contrast(
        PROBE, measured, _probed(last, measured), _Side(ANSWER, answered_right(measured.test)), seed=seed
    )


def concluded(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """Return the contrasts in their order, p and conclusion corrected within every family by Holm.

    A family holds all given contrasts of its name, of whatever task and model.
    """
    adjusted = np.ones(len(contrasts))
    for family in {contrast.family for contrast in contrasts}:
        places = [i for i, contrast in enumerate(contrasts) if contrast.family == family]
        adjusted[places] = holm([contrasts[i].p for i in places])
    return tuple(
        replace(contrast, p_adjusted=float(p), conclusion=_conclusion(contrast.value, float(p)))
        for contrast, p in zip(contrasts, adjusted, strict=True)
    )


def paired_difference(first: Floats, second: Floats, groups: Sequence[str], *, seed: int = 0) -> Paired:
    """Test whether two sides are equally often right on the same images.

    The test is the exact one of McNemar where every group holds one image and each image is right or wrong.
    Else whole groups are resampled and p = min(1, 2 min(1 + draws <= 0, 1 + draws >= 0) / (1 + draws)), by
    inversion of the percentile interval (Davison and Hinkley 1997, section 4.4). It is at least 2^(1 - groups),
    the smallest two-sided p that swapping the sides within groups can give: resampling few groups that agree
    by chance would otherwise show no doubt at all. Few groups still make it too bold: between equal sides it
    was below .05 in 6% of simulated cases with 40 groups, in 7% with 10 and in 9% with 8.

    The interval is the percentile one. Where the draws have no spread, as where no image tells the two apart,
    it is +-3 / groups, the rule of three: what was seen in none of n is with 95% confidence rarer than
    3 / n (Hanley and Lippman-Hand 1983).

    Args:
        first: how right the first is on each image, 0 to 1, shape (images,).
        second: the same of the second.
        groups: each image's group.
        seed: of the bootstrap.
    """
    gaps = first - second
    value = float(gaps.mean())
    resamples = ClusterBootstrap.of(groups, draws=DRAWS, seed=seed)
    draws = resamples.means(gaps[None])[:, 0]
    low, high = _interval(draws, value, resamples.groups)
    if resamples.groups == len(gaps) and _all_or_nothing(first) and _all_or_nothing(second):
        return Paired(value, low, high, exact_mcnemar(first == 1, second == 1), MCNEMAR)
    if np.all(np.abs(gaps) < _ROUNDING):
        return Paired(value, low, high, 1.0, BOOTSTRAP)
    return Paired(value, low, high, two_sided_p(draws, resamples.groups), BOOTSTRAP)


def two_sided_p(draws: Floats, groups: int) -> float:
    """Return the p of `paired_difference` for draws (draws,) of a difference over this many groups."""
    below = 1 + int((draws <= _ROUNDING).sum())
    above = 1 + int((draws >= -_ROUNDING).sum())
    return min(1.0, max(2 * min(below, above) / (1 + len(draws)), 2.0 ** (1 - groups)))


def _interval(draws: Floats, value: float, groups: int) -> tuple[float, float]:
    if np.ptp(draws) < _ROUNDING:
        return max(-1.0, value - 3 / groups), min(1.0, value + 3 / groups)
    low, high = interval(draws, value)
    return min(low, value), max(high, value)


def _all_or_nothing(correct: Floats) -> bool:
    return bool(np.isin(correct, (0.0, 1.0)).all())


def _contrast(
    family: str, about: Measured, first: _Side, second: _Side, *, seed: int, same: bool = False
) -> Contrast:
    """Compare two sides; `same` says that they are one and the same place, so that nothing is uncertain."""
    groups = [line.group for line in about.test]
    if not groups:
        raise RecordError(f"{about.name} on {about.record.task.name}: no test image to compare on")
    found = paired_difference(first.correct, second.correct, groups, seed=seed)
    if same:
        found = replace(found, value=0.0, low=0.0, high=0.0, p=1.0)
    return Contrast(
        family=family,
        task=about.record.task.name,
        first=first.name,
        second=second.name,
        model=about.name,
        metric="accuracy",
        first_value=Interval.of(proportion_estimate(first.correct, groups)),
        second_value=Interval.of(proportion_estimate(second.correct, groups)),
        value=found.value,
        low=found.low,
        high=found.high,
        p=found.p,
        p_adjusted=found.p,
        test=found.test,
        n=len(groups),
        conclusion=_conclusion(found.value, found.p),
    )


def _conclusion(value: float, p_adjusted: float) -> Conclusion:
    if p_adjusted >= LEVEL or value == 0:
        return "undetermined"
    return "higher" if value > 0 else "lower"


def answered_right(test: Iterable[SampleLine]) -> Floats:
    """Return whether the headline answer to each test image is right, as 0 or 1, shape (images,)."""
    return np.array([line.outcome == "correct" for line in test], dtype=np.float64)


def _labels(measured: Measured, split: str) -> NDArray[np.int64]:
    return np.array([line.label for line in measured.samples if line.split == split], dtype=np.int64)


def _probed(lines: Sequence[ProbeLine], measured: Measured) -> _Side:
    return _Side(lines[0].site, _mean_correct(lines, _labels(measured, "test"), "test"))


def _mean_correct(lines: Sequence[ProbeLine], labels: NDArray[np.int64], split: str) -> Floats:
    return mean_correct([line for line in lines if line.split == split], labels)


def _vision_layers(measured: Measured, readout: str) -> list[list[ProbeLine]]:
    """Return the lines of every vision layer that was probed on validation and test, by depth."""
    tested = [key for key in by_site(measured.probes) if key[0] == readout]
    layers = [
        [line for line in measured.probes if (line.readout, line.site, line.pool) == key]
        for key in tested
        if key[2] == "mean"
    ]
    chosen = [
        lines
        for lines in layers
        if lines[0].module == "vision" and any(line.split == "val" and line.predictions for line in lines)
    ]
    return sorted(chosen, key=lambda lines: lines[0].layer)
