"""Tests of the answers themselves: what kind of mistakes, how sure, and how much the wording matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leaderboard.record.parts import Interval
from leaderboard.record.record import ReliabilityBin
from leaderboard.record.samples import Asked, SampleLine
from probes.stats.bootstrap import ClusterBootstrap, balanced_accuracy_estimate
from probes.stats.metrics import Estimate, ece_bins, proportion_estimate
from probes.verdict.mapping import apply_score_maps, fit_score_maps, permutation_p, score_array
from tasks.questions import LETTERS
from tasks.spec import SPLITS

Integers = NDArray[np.integer]

NO_CLASS = -1  # stands for an answer that names no class


class MappedPart(NamedTuple):
    """The label scores as they are and under three maps, and what the second map does."""

    mapped: dict[str, Interval]
    relabelling: tuple[int, ...]
    relabelling_p: float


def confusion(labels: Integers, predicted: Integers, classes: int) -> tuple[tuple[int, ...], ...]:
    """Count images by true class (rows) and predicted class (columns, the last for no class)."""
    counts = np.zeros((classes, classes + 1), dtype=int)
    np.add.at(counts, (labels, np.where(predicted == NO_CLASS, classes, predicted)), 1)
    return tuple(map(tuple, counts.tolist()))


def reliability(labels: Integers, probabilities: NDArray[np.float64]) -> tuple[ReliabilityBin, ...]:
    """Return the bins behind the calibration error that hold an image, from unsure to sure."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = ece_bins(confidence)
    return tuple(
        ReliabilityBin(
            confidence=float(confidence[place == bin].mean()),
            accuracy=float(correct[place == bin].mean()),
            count=int((place == bin).sum()),
        )
        for bin in np.unique(place)
    )


def mapped_answers(
    samples: Sequence[SampleLine], classes: int, resamples: ClusterBootstrap
) -> MappedPart | None:
    """Measure G0 to G3 in balanced accuracy; None where a split has no label scores.

    The maps are fitted on train and chosen on validation, as the probes are; see `probes.verdict.mapping`.

    Args:
        samples: the lines of train, validation and test.
        classes: number of classes.
        resamples: of the test images.
    """
    by_split = {name: [line for line in samples if line.split == name] for name in SPLITS}
    scores = {name: score_array((s.scores for s in part), classes) for name, part in by_split.items()}
    if not all(np.isfinite(part).all(axis=1).any() for part in scores.values()):
        return None
    labels = {name: np.array([s.label for s in part]) for name, part in by_split.items()}
    maps = fit_score_maps(scores["train"], labels["train"], scores["val"], labels["val"])
    mapped = apply_score_maps(maps, scores["test"])
    predicted = {
        "plain": mapped.plain,
        "without_prior": mapped.without_prior,
        "relabelled": mapped.relabelled,
        "logistic": mapped.logistic,
    }
    return MappedPart(
        {
            n: to_interval(balanced_accuracy_estimate(labels["test"], p, resamples))
            for n, p in predicted.items()
        },
        maps.permutation,
        permutation_p(maps, mapped, labels["test"]),
    )


def order_accuracies(test: Sequence[SampleLine], prompts: Sequence[str]) -> dict[str, Interval]:
    """Return the accuracy on each option order, and by the letter of the right option.

    Keys are "prompt/0-2-1" for an order, the classes from option A on, where every image was asked under the
    same orders, and "prompt/right at A" for all questions whose right option was A. An image that was asked
    so more than once counts with the share that was right.
    """
    found: dict[str, Interval | None] = {}
    for prompt in prompts:
        asked = [[one for one in line.orders if one.prompt == prompt] for line in test]
        if len({tuple(sorted(one.order for one in same)) for same in asked}) == 1:
            for order in sorted(one.order for one in asked[0]):
                chosen = [[one for one in same if one.order == order] for same in asked]
                found[f"{prompt}/{'-'.join(map(str, order))}"] = _accuracy(test, chosen)
        for place in range(max(len(one.order) for same in asked for one in same)):
            chosen = [
                [one for one in same if one.order[place] == line.label]
                for line, same in zip(test, asked, strict=True)
            ]
            found[f"{prompt}/right at {LETTERS[place]}"] = _accuracy(test, chosen)
    return {name: value for name, value in found.items() if value is not None}


def _accuracy(test: Sequence[SampleLine], chosen: Sequence[Sequence[Asked]]) -> Interval | None:
    """Return the accuracy over the images with a chosen question; None where no image has one."""
    pairs = [(line, same) for line, same in zip(test, chosen, strict=True) if same]
    if not pairs:
        return None
    correct = np.array([np.mean([one.predicted == line.label for one in same]) for line, same in pairs])
    return to_interval(proportion_estimate(correct, [line.group for line, _ in pairs]))


def prompt_spread_interval(
    correct: Mapping[str, NDArray[np.float64]], resamples: ClusterBootstrap
) -> Interval | None:
    """Return the largest minus the smallest accuracy over prompts, with its interval; None for one prompt.

    The observed spread is larger than the true one on average, because noise alone tells a largest from a
    smallest; a percentile interval of it would lie too high. With e the errors of the prompts' accuracies,
    the spread is off by at most max e - min e, so the interval reaches as far to both sides as the 95%
    quantile of that over paired draws of whole groups (one bound for all pairs of prompts, as Tukey's). It
    starts at 0 where no two prompts can be told apart, and covers more often than in 95% of cases.

    Args:
        correct: for each prompt, how right each test image was, from 0 to 1, (images,).
        resamples: of the test images.
    """
    if len(correct) < 2:
        return None
    stacked = np.stack(list(correct.values()))
    means = stacked.mean(axis=1)
    value = float(means.max() - means.min())
    errors = resamples.means(stacked) - means
    reach = float(np.quantile(errors.max(axis=1) - errors.min(axis=1), 0.95))
    return Interval(
        value=value, low=max(0.0, value - reach), high=min(1.0, value + reach), n=stacked.shape[1]
    )


def to_interval(estimate: Estimate) -> Interval:
    """Return a measured value as a record holds it."""
    return Interval(value=estimate.value, low=estimate.low, high=estimate.high, n=estimate.n)
