"""Score the floors of a record from their probe lines: what the images give without the model's layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from leaderboard.record.checks import BlankPart, FloorPart, FloorsPart, LayerFloor
from leaderboard.record.parts import Interval
from leaderboard.record.samples import FLOOR, FLOORS, ProbeLine, SampleLine
from leaderboard.scoring.answers import DRAWS
from probes.stats.bootstrap import ClusterBootstrap, balanced_accuracy_estimate
from probes.stats.metrics import proportion_estimate, softmax


@dataclass(frozen=True)
class DeclaredFloors:
    """What the floors' lines do not say.

    `details` and `permutation_p` go by the floor's name. The rest is as in `FloorsPart`; `blank` holds the
    label scores of the grey picture in the order of the classes.
    """

    key: str
    details: dict[str, str]
    permutation_p: dict[str, float | None]
    blank: tuple[float, ...] | None = None
    blank_detail: str | None = None
    random_vision: tuple[LayerFloor, ...] | None = None
    random_vision_detail: str | None = None

    @classmethod
    def of(cls, floors: FloorsPart) -> DeclaredFloors:
        """Return what a record declares of its floors.

        Of the grey picture's label scores it has the softmax alone; scores of the same one stand for them.
        """
        parts = {name: getattr(floors, name) for name in FLOORS}
        blank = floors.blank
        return cls(
            floors.key,
            {name: part.detail for name, part in parts.items()},
            {name: part.permutation_p for name, part in parts.items()},
            None if blank is None else tuple(math.log(max(p, 1e-300)) for p in blank.probabilities),
            floors.blank_detail,
            floors.random_vision,
            floors.random_vision_detail,
        )


def score_floors(
    lines: Iterable[ProbeLine], test: Sequence[SampleLine], declared: DeclaredFloors, *, seed: int = 0
) -> FloorsPart:
    """Score every floor on the test images.

    Args:
        lines: the probes' lines; those of a model's layers are passed over.
        test: the lines of the test images.
        declared: what cannot be computed from lines.
        seed: of the bootstrap.
    """
    predictions = {
        line.site: np.array(line.predictions)
        for line in lines
        if (line.readout, line.split) == (FLOOR, "test")
    }
    labels, groups = np.array([line.label for line in test]), [line.group for line in test]
    resamples = ClusterBootstrap.of(groups, draws=DRAWS, seed=seed)
    parts = {
        name: FloorPart(
            name=name,
            detail=declared.details[name],
            accuracy=Interval.of(proportion_estimate(predictions[name] == labels, groups)),
            balanced_accuracy=Interval.of(balanced_accuracy_estimate(labels, predictions[name], resamples)),
            permutation_p=declared.permutation_p[name],
        )
        for name in FLOORS
    }
    return FloorsPart(
        key=declared.key,
        **parts,
        blank=None if declared.blank is None else _blank(declared.blank, test),
        blank_detail=declared.blank_detail,
        random_vision=declared.random_vision,
        random_vision_detail=declared.random_vision_detail,
    )


def _blank(scores: Sequence[float], test: Sequence[SampleLine]) -> BlankPart:
    predicted = int(np.argmax(scores))
    correct = np.array([line.label == predicted for line in test])
    return BlankPart(
        predicted=predicted,
        probabilities=tuple(softmax(np.array(scores)).tolist()),
        accuracy=Interval.of(proportion_estimate(correct, [line.group for line in test])),
    )
