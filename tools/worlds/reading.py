"""Read a simulated world as a run would: direct probes, transfer, refits; what comes back are predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.fit.linear import LinearProbes, fit_linear
from probes.fit.noise_floor import with_noise_floor
from probes.fit.scaling import standardise
from probes.fit.transfer import (
    Readout,
    TokenPairs,
    choose_carried,
    fit_subset,
    fold_readouts,
    group_folds,
    transfer,
)
from probes.verdict.carried import balanced_predictions
from tools.worlds.geometry import CLASSES, Floats, Split

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
LAMBDAS = (9e-4, 9e-3, 9e-2, 9e-1)

Predictions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Locus:
    """One locus's predictions of the test images: carried and read, (images,); refits; on a quarter and half."""

    carried: Predictions
    read: Predictions
    refits: Predictions
    smaller: Predictions
    kind: str


def read_world(splits: dict[str, Split], name: str, seed: int) -> tuple[Locus, Locus]:
    """Return the loci before and behind the connector."""
    labels = {split: part.labels for split, part in splits.items()}
    early = {split: part.vision for split, part in splits.items()}
    late = {split: part.later for split, part in splits.items()}
    early, late = _noisy(early, "vision", seed), _noisy(late, f"connector {name}", seed)
    folds = group_folds(np.arange(len(labels["train"])), labels["train"], seed=seed)
    vision, vision_direct = _probe(early, labels)
    moved = transfer(
        (vision, *_folds(early, labels, folds, vision_direct)),
        TokenPairs(splits["train"].later_tokens, splits["train"].vision_tokens),
        late["val"],
        early["val"],
        strengths=LAMBDAS,
    )
    direct, probes = _probe(late, labels)
    carried = choose_carried(
        (direct, *_folds(late, labels, folds, probes)),
        {"vision": moved},
        late["train"],
        labels["train"],
        folds,
        late["val"],
        labels["val"],
    )
    source = f"{carried.kind} {moved.strength:.0e} error {moved.errors[moved.strength]:.3f}"
    refits = _folds(early, labels, folds, vision_direct)
    return (
        _locus(early, labels, (vision, *refits), vision, vision_direct, "direct", seed),
        _locus(late, labels, (carried.readout, *carried.refits), direct, probes, source, seed),
    )


def _noisy(features: dict[str, Floats], site: str, seed: int) -> dict[str, Floats]:
    scale = standardise(features["train"][None]).scale[0]
    return {
        split: with_noise_floor(part, scale, site=site, split=split, seed=seed)
        for split, part in features.items()
    }


def _probe(features: dict[str, Floats], labels: dict[str, Any]) -> tuple[Readout, LinearProbes]:
    train, val = features["train"][None], features["val"][None]
    probes = fit_linear(train, labels["train"], val, labels["val"], CLASSES, strengths=STRENGTHS)
    return Readout.of(probes), probes


def _folds(
    features: dict[str, Floats], labels: dict[str, Any], folds: Predictions, probes: LinearProbes
) -> tuple[Readout, ...]:
    return fold_readouts(features["train"], labels["train"], folds, CLASSES, float(probes.strength[0]))


def _locus(
    features: dict[str, Floats],
    labels: dict[str, Any],
    carried: Sequence[Readout],
    direct: Readout,
    probes: LinearProbes,
    kind: str,
    seed: int,
) -> Locus:
    def predict(readout: Readout) -> Predictions:
        return balanced_predictions(readout.logits(features["test"]), labels["train"])

    train, strength = features["train"], float(probes.strength[0])
    rank = np.random.default_rng([seed, 7]).permutation(len(train))
    smaller = [
        fit_subset(train, labels["train"], rank < len(train) // part, CLASSES, strength) for part in (4, 2)
    ]
    return Locus(
        carried=predict(carried[0]),
        read=predict(direct),
        refits=np.stack([predict(readout) for readout in carried[1:]]),
        smaller=np.stack([predict(readout) for readout in smaller]),
        kind=kind,
    )
