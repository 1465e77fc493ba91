"""Answers of engines that name a class of a picture and read no words: classifiers, and heads on an encoder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from model_adapters.interface import Abilities, Generation, LabelScores, Query

ABILITIES = Abilities(label_scores=True, generation=False, reads_prompts=False)


def class_scores(
    labels: Sequence[str], classes: Mapping[str, int], log_probabilities: Sequence[float]
) -> LabelScores:
    """Return the log-probabilities, in nats, of the classes that labels stand for.

    `classes` gives each known label its place among the `log_probabilities`. Both kinds of score are equal,
    for a class is one answer however long its name. A label that stands for no class is an error.
    """
    for label in labels:
        if label not in classes:
            return LabelScores((), (), f"the label {label!r} is none of the classes {', '.join(classes)}")
    values = tuple(float(log_probabilities[classes[label]]) for label in labels)
    if not all(map(math.isfinite, values)):
        return LabelScores((), (), "a class's log-probability is not finite")
    return LabelScores(values, values)


def no_text(queries: Sequence[Query], what: str) -> tuple[Generation, ...]:
    """Return the error that every query gets where text is asked for; `what` names who should write it."""
    return tuple(Generation("", finished=False, error=f"{what} writes no text") for _ in queries)
