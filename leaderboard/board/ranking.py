"""Rank models: 1 + the number of those that are significantly better, on one task or over several.

Two models are compared on the same test images: by McNemar's exact test where every group is one image, else by
paired draws of whole groups; p-values are Holm-adjusted over all pairs that are compared. So models that the
images cannot tell apart share a rank, and a rank never rests on a difference that noise would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from leaderboard.compare.contrasts import DRAWS, LEVEL, two_sided_p
from leaderboard.record.parts import Interval
from leaderboard.record.record import RecordError
from leaderboard.record.samples import NO_CLASS, SampleLine
from probes.stats.bootstrap import ClusterBootstrap, interval
from probes.stats.metrics import balanced_accuracy, chance_corrected, exact_mcnemar, holm

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TaskAnswers:
    """What some models answered to the same test images of one task.

    `labels` (images,) and `predicted` (models, images) are class indices, -1 for no class; an error is none.
    """

    task: str
    classes: int
    groups: tuple[str, ...] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    predicted: NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(cls, task: str, classes: int, answers: Sequence[Sequence[SampleLine]]) -> TaskAnswers:
        """Gather the test lines of each model.

        Raises:
            RecordError: two models were not asked about the same images in the same order.
        """
        first = [(line.id, line.pixel_hash, line.label, line.group) for line in answers[0]]
        for lines in answers[1:]:
            if [(line.id, line.pixel_hash, line.label, line.group) for line in lines] != first:
                raise RecordError(f"{task}: the entries are not about the same test images; verify the board")
        predicted = [[_class(line) for line in lines] for lines in answers]
        labels = [line.label for line in answers[0]]
        return cls(
            task, classes, tuple(line.group for line in answers[0]), np.array(labels), np.array(predicted)
        )

    def levels(self) -> Floats:
        """Return each model's chance-corrected balanced accuracy A, shape (models,)."""
        return np.asarray(chance_corrected(balanced_accuracy(self.labels, self.predicted), self.classes))

    def level_draws(self, *, seed: int = 0) -> Floats:
        """Return A in every draw of whole groups, the same draws for all models, shape (draws, models)."""
        resamples = ClusterBootstrap.of(self.groups, draws=DRAWS, seed=seed)
        drawn = resamples.balanced_accuracy(self.labels, self.predicted)
        return np.asarray(chance_corrected(drawn, self.classes))


def task_ranks(answers: TaskAnswers, *, seed: int = 0) -> tuple[int, ...]:
    """Rank models on one task by accuracy, the share of test images that are answered right."""
    correct = answers.predicted == answers.labels
    means = correct.mean(axis=1)
    resamples = ClusterBootstrap.of(answers.groups, draws=DRAWS, seed=seed)
    single = resamples.groups == len(answers.groups)
    draws = None if single else resamples.means(correct.astype(np.float64))

    def p(one: int, other: int) -> float:
        if draws is None:
            return exact_mcnemar(correct[one], correct[other])
        if np.array_equal(correct[one], correct[other]):
            return 1.0
        return two_sided_p(draws[:, one] - draws[:, other], resamples.groups)

    pairs = list(combinations(range(len(means)), 2))
    return _ranks(means, pairs, [p(one, other) for one, other in pairs])


def joined_levels(
    tasks: Sequence[TaskAnswers], *, seed: int = 0
) -> tuple[tuple[Interval, ...], tuple[int, ...]]:
    """Return each model's mean A over tasks with its interval, and its rank; the same models in each task.

    The images of different tasks are drawn independently, those of one task together for all models.
    """
    values = np.mean([one.levels() for one in tasks], axis=0)
    draws = np.mean([one.level_draws(seed=seed + place) for place, one in enumerate(tasks)], axis=0)
    groups = sum(len(set(one.groups)) for one in tasks)
    images = sum(len(one.labels) for one in tasks)
    means = tuple(_interval(draws[:, m], float(values[m]), images) for m in range(len(values)))
    pairs = list(combinations(range(len(values)), 2))
    p_values = [
        1.0 if values[one] == values[other] else two_sided_p(draws[:, one] - draws[:, other], groups)
        for one, other in pairs
    ]
    return means, _ranks(values, pairs, p_values)


def _interval(draws: Floats, value: float, images: int) -> Interval:
    low, high = interval(draws, value)
    return Interval(value=value, low=min(low, value), high=max(high, value), n=images)


def _ranks(values: Floats, pairs: Sequence[tuple[int, int]], p_values: Sequence[float]) -> tuple[int, ...]:
    better = np.ones(len(values), dtype=int)
    adjusted = holm(p_values).tolist() if p_values else []
    for (one, other), p in zip(pairs, adjusted, strict=True):
        if p < LEVEL and values[one] != values[other]:
            better[one if values[one] < values[other] else other] += 1
    return tuple(better.tolist())


def _class(line: SampleLine) -> int:
    return NO_CLASS if line.predicted is None or line.outcome == "error" else line.predicted
