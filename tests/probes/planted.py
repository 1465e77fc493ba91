"""Simulated predictions along the path from image to answer, with a loss planted where a test wants it."""

from __future__ import annotations

import numpy as np

from probes.verdict.mapping import MappedAnswers
from probes.verdict.waterfall import LocusPredictions

CLASSES = 5


def planted(
    rng: np.random.Generator,
    images: int,
    *,
    reference: float | None = 0.85,
    vision: float = 0.85,
    connector: float = 0.85,
    image_mean: float = 0.85,
    last_token: float = 0.85,
    logistic: float = 0.85,
    without_prior: float | None = None,
    relabelled: float | None = None,
    answers: float = 0.85,
    generated: float | None = None,
    best_vision: float | None = None,
    per_group: int = 1,
) -> LocusPredictions:
    """Draw predictions of the given accuracies whose errors fall mostly on the same, hard images."""
    from scipy.stats import norm

    labels = rng.integers(CLASSES, size=images)
    groups = np.arange(images) // per_group
    hardness = rng.standard_normal(groups.max() + 1)[groups]

    def locus(accuracy: float | None, shared: float = 0.9) -> np.ndarray | None:
        if accuracy is None:
            return None
        own = shared * hardness + np.sqrt(1 - shared**2) * rng.standard_normal(images)
        other = (labels + rng.integers(1, CLASSES, size=images)) % CLASSES
        return np.where(own < norm.ppf(accuracy), labels, other)

    plain = locus(answers)
    return LocusPredictions(
        labels=labels,
        groups=groups,
        classes=CLASSES,
        reference=locus(reference, shared=0.6),
        vision=locus(vision),
        connector=locus(connector),
        image_mean=locus(image_mean),
        last_token=locus(last_token),
        answers=MappedAnswers(
            plain=plain,
            without_prior=plain if without_prior is None else locus(without_prior),
            relabelled=plain if relabelled is None else locus(relabelled),
            logistic=locus(logistic),
        ),
        generated=locus(generated),
        best_vision=locus(best_vision),
    )
