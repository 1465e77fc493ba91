"""From label scores to answers, four ways: as they are (G0) and after three maps fitted on labelled images.

What a map of the scores alone can repair is a fault of the mapping from what the model knows to what it
says: a label prior (G1), a permutation of the labels (G2), or any linear map of the scores (G3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from probes.fit.logistic_map import STRENGTHS, Floats, Integers, LogisticMap, fit_logistic_map
from probes.stats.metrics import exact_mcnemar

NO_PREDICTION = -1
PERMUTATION_LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class ScoreMaps:
    """The three maps, fitted.

    `prior` (classes,) is the mean score of each label. `permutation[k]` is the class that the answer k
    stands for. `images` were fitted on; `missing` further ones had no scores.
    """

    prior: NDArray[np.float64]
    permutation: tuple[int, ...]
    logistic: LogisticMap
    images: int
    missing: int

    @property
    def permuted(self) -> bool:
        """Whether the best relabelling changes any answer."""
        return self.permutation != tuple(range(len(self.permutation)))


@dataclass(frozen=True, eq=False)
class MappedAnswers:
    """Predicted classes (images,) under each map; -1 where the scores are missing, which counts as wrong."""

    plain: NDArray[np.int64] = field(repr=False)  # G0
    without_prior: NDArray[np.int64] = field(repr=False)  # G1
    relabelled: NDArray[np.int64] = field(repr=False)  # G2
    logistic: NDArray[np.int64] = field(repr=False)  # G3


def score_array(
    scores: Iterable[Sequence[float] | NDArray[np.floating] | None], classes: int
) -> NDArray[np.float64]:
    """Return label scores as (images, classes), NaN in the whole row where any score is missing.

    A row counts as missing where it is None, empty, or holds a value that is not finite: an argmax over
    the labels that happen to have scores would be a guess.

    Raises:
        ValueError: a row has another number of labels.
    """
    rows = list(scores)
    array = np.full((len(rows), classes), np.nan)
    for index, row in enumerate(rows):
        if row is None or len(row) == 0:
            continue
        values = np.asarray(row, np.float64)
        if values.shape != (classes,):
            raise ValueError(f"scores of image {index}: {values.size} values for {classes} labels")
        if np.isfinite(values).all():
            array[index] = values
    return array


def fit_score_maps(
    scores: Floats,
    labels: Integers,
    validation_scores: Floats,
    validation_labels: Integers,
    *,
    strengths: Sequence[float] = STRENGTHS,
) -> ScoreMaps:
    """Fit the label prior, the best relabelling and the logistic map.

    Rows with a missing score are left out and counted. The relabelling is the one-to-one assignment with
    the highest balanced accuracy on the images it is fitted on (Hungarian method), the identity where it
    ties. Validation chooses the strength of the logistic map.

    Args:
        scores: (images, classes) of the images that the probes are fitted on; NaN where missing.
        labels: (images,), from 0 to classes - 1.
        validation_scores: (images, classes).
        validation_labels: (images,).
        strengths: values of C of the logistic map.

    Raises:
        ValueError: shapes or labels do not fit together, or no image has scores.
    """
    used, kept = _usable("fit", scores, labels)
    validation, validation_kept = _usable("validation", validation_scores, validation_labels)
    if used.shape[1] != validation.shape[1]:
        raise ValueError(f"fit has {used.shape[1]} labels, validation {validation.shape[1]}")
    return ScoreMaps(
        prior=used.mean(axis=0),
        permutation=best_relabelling(used.argmax(axis=1), kept, used.shape[1]),
        logistic=fit_logistic_map(used, kept, validation, validation_kept, strengths=strengths),
        images=len(used),
        missing=len(scores) - len(used),
    )


def apply_score_maps(maps: ScoreMaps, scores: Floats) -> MappedAnswers:
    """Predict every image under each map.

    Args:
        maps: from `fit_score_maps`.
        scores: (images, classes); rows with a value that is not finite are predicted -1.
    """
    if scores.ndim != 2 or scores.shape[1] != len(maps.prior):
        raise ValueError(f"scores of shape {scores.shape}: expected (images, {len(maps.prior)})")
    there = np.isfinite(scores).all(axis=1)
    used = np.asarray(scores[there], np.float64)
    plain = used.argmax(axis=1)

    def spread(predicted: Integers) -> NDArray[np.int64]:
        full = np.full(len(scores), NO_PREDICTION, np.int64)
        full[there] = predicted
        return full

    return MappedAnswers(
        plain=spread(plain),
        without_prior=spread((used - maps.prior).argmax(axis=1)),
        relabelled=spread(np.asarray(maps.permutation)[plain]),
        logistic=spread(maps.logistic.logits(used).argmax(axis=1)),
    )


def best_relabelling(answers: Integers, labels: Integers, classes: int) -> tuple[int, ...]:
    """Return for each answer the class it should stand for, one to one.

    Maximises balanced accuracy over all permutations (Kuhn 1955, on the confusion matrix with every row
    divided by its class's size); among equals the one that changes least.
    """
    from scipy.optimize import linear_sum_assignment

    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (labels, answers), 1.0)
    recall = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    # A gain smaller than any that an image can bring, so it decides ties alone.
    stay = np.eye(classes) * 0.1 / (classes * max(1, len(labels)) ** 2)
    rows, columns = linear_sum_assignment(-(recall + stay))
    meaning = np.empty(classes, int)
    meaning[columns] = rows
    return tuple(int(k) for k in meaning)


def permutation_p(maps: ScoreMaps, mapped: MappedAnswers, labels: Integers) -> float:
    """Return the exact two-sided McNemar p-value of the relabelled against the plain answers.

    `labels` (images,) are those of the images in `mapped`, which the maps were not fitted on. 1.0 where the
    relabelling is the identity. Images are taken as independent: judge the size of the gain by the
    waterfall's cluster bootstrap.
    """
    if not maps.permuted:
        return 1.0
    return exact_mcnemar(mapped.relabelled == labels, mapped.plain == labels)


def _usable(name: str, scores: Floats, labels: Integers) -> tuple[NDArray[np.float64], Integers]:
    """Return the rows with scores and their labels, or say what is wrong with them."""
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"{name}: scores of shape {scores.shape} and labels of shape {labels.shape}")
    if len(labels) and (labels.min() < 0 or labels.max() >= scores.shape[1]):
        raise ValueError(
            f"{name}: labels from {labels.min()} to {labels.max()} for {scores.shape[1]} label scores"
        )
    there = np.isfinite(scores).all(axis=1)
    if not there.any():
        raise ValueError(f"{name}: none of {len(scores)} images has label scores; the maps need some")
    return np.asarray(scores[there], np.float64), labels[there]
