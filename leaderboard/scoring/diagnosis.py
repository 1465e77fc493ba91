"""The verdict of a record, computed from its lines: where the class is lost on its way to the answer.

It follows from `samples.jsonl`, `probes.jsonl` and the p-values that the record declares (they need the
features), so whoever has these files can compute it again. Everything is in balanced accuracy, of predictions
as they are: no locus is corrected for the classes' shares in training, and so none has an advantage by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leaderboard.record.checks import FloorsPart
from leaderboard.record.record import DiagnosisPart, Drop, GapPart, Headline, PermutationPart, ProbePart
from leaderboard.record.samples import FLOOR, MAIN_READOUT, NO_CLASS, ProbeLine, SampleLine
from leaderboard.scoring.answers import remap
from leaderboard.scoring.probes import connector_input
from probes.stats.metrics import balanced_accuracy
from probes.verdict import waterfall as falls
from probes.verdict.diagnosis import DEFAULT_RULE, Diagnosis, SignalTests, diagnose
from probes.verdict.explanation import sentences
from probes.verdict.waterfall import LocusPredictions, Waterfall, waterfall
from tasks.sources import SplitName

DIAGNOSIS_VERSION = 1  # raised when a verdict is computed differently

_Site = tuple[str, str]  # site and pool


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a verdict is made from. `permutation_p` is that of the best relabelling of the answers."""

    predictions: LocusPredictions = field(repr=False)
    permutation_p: float


def diagnosis_settings() -> dict[str, Any]:
    """Return what changes a verdict and no measured number."""
    return {
        "version": DIAGNOSIS_VERSION,
        "rule": repr(DEFAULT_RULE),
        "delta": falls.DELTA,
        "draws": falls.DRAWS,
    }


def score_diagnosis(
    samples: Sequence[SampleLine],
    lines: Iterable[ProbeLine],
    *,
    classes: int,
    headline: Headline,
    signal: SignalTests,
    reference: str | None,
    seed: int = 0,
) -> DiagnosisPart | None:
    """Give the verdict, or None where something that it needs was not measured.

    It needs label scores that mean something and the linear probes of every place; see `gather`.

    Args:
        samples: the lines of train, validation and test.
        lines: the probes' lines, the floors' among them.
        classes: the task's number of classes.
        headline: of the record; a model whose label scores mean nothing gets no verdict.
        signal: see `signal_tests`.
        reference: what R is; None leaves R's predictions unused, should `lines` hold any.
        seed: of the bootstrap.
    """
    evidence = gather(samples, lines, classes) if headline == "scores" else None
    if evidence is None:
        return None
    predictions = evidence.predictions
    if reference is None or predictions.reference is None:
        reference, predictions = None, replace(predictions, reference=None)
    measured = waterfall(predictions, seed=seed)
    found = diagnose(measured, reference=reference, signal=signal, permutation_p=evidence.permutation_p)
    return _part(found, measured)


def signal_tests(
    probes: Iterable[ProbePart], permutation: PermutationPart | None, floors: FloorsPart | None
) -> SignalTests:
    """Gather the declared p-values against permuted labels; None where something was not tested."""
    consumed = {p.pool: p.permutation_p for p in probes if p.consumed and p.readout == MAIN_READOUT}
    return SignalTests(
        reference=floors.reference.permutation_p if floors else None,
        pixels=floors.pixels.permutation_p if floors else None,
        vision=permutation.vision_p if permutation else None,
        consumed_vision=consumed.get("regrouped", consumed.get("mean")),
    )


def gather(samples: Sequence[SampleLine], lines: Iterable[ProbeLine], classes: int) -> Evidence | None:
    """Return the predictions at every locus, or None where one that the waterfall needs is missing.

    The maps of the label scores are fitted on the images that the probes are fitted on. An image that the
    model could not be shown, or whose answer is an error, counts as wrong. `best_vision` is the layer with
    the best balanced accuracy on validation, the consumed one where it ties.
    """
    probed = [line for line in lines if line.readout in (MAIN_READOUT, FLOOR)]
    loci, remapped = _loci(probed), remap(samples, classes)
    if loci is None or remapped is None:
        return None
    images = [line for line in samples if line.split == "test"]
    labels = np.array([line.label for line in samples if line.split == "val"])
    test, validation = _predictions(probed, "test"), _predictions(probed, "val")
    written = any(line.generated_outcome is not None for line in images)
    predictions = LocusPredictions(
        labels=np.array([line.label for line in images]),
        groups=np.array([line.group for line in images]),
        classes=classes,
        vision=test[loci.vision],
        connector=test[loci.connector],
        image_mean=test[loci.image_mean],
        last_token=test[loci.last_token],
        best_vision=test[_best_vision(probed, loci, validation, labels)],
        reference=test.get(("reference", "mean")),
        answers=remapped.answers,
        generated=_read(images) if written else None,
    )
    return Evidence(predictions, remapped.p)


@dataclass(frozen=True)
class _Loci:
    vision: _Site
    connector: _Site
    image_mean: _Site
    last_token: _Site


def _loci(lines: Sequence[ProbeLine]) -> _Loci | None:
    """Find the places of the waterfall among the lines; None where one was not probed."""
    vision = connector_input(lines)
    connector = [(line.site, line.pool) for line in lines if line.module == "connector"]
    decoder = [line for line in lines if line.module == "llm"]
    last = max((line.layer for line in decoder), default=0)
    ends = {line.pool: (line.site, line.pool) for line in decoder if line.layer == last}
    if vision is None or not connector or not {"mean", "last"} <= set(ends):
        return None
    return _Loci(vision, connector[0], ends["mean"], ends["last"])


def _predictions(lines: Iterable[ProbeLine], split: SplitName) -> dict[_Site, NDArray[np.int64]]:
    return {(line.site, line.pool): np.array(line.predictions) for line in lines if line.split == split}


def _best_vision(
    lines: Iterable[ProbeLine],
    loci: _Loci,
    validation: Mapping[_Site, NDArray[np.int64]],
    labels: NDArray[np.integer],
) -> _Site:
    layers = dict.fromkeys((line.site, line.pool) for line in lines if line.module == "vision")
    candidates = [loci.vision, *(site for site in layers if site != loci.vision)]
    return max(candidates, key=lambda site: float(balanced_accuracy(labels, validation[site])))


def _read(test: Sequence[SampleLine]) -> NDArray[np.int64]:
    return np.array([NO_CLASS if line.read is None else line.read for line in test])


def _part(found: Diagnosis, measured: Waterfall) -> DiagnosisPart:
    return DiagnosisPart(
        verdict=found.verdict,
        stages=found.stages,
        details=found.details,
        drops=tuple(
            Drop(
                mode=drop.mode,
                value=drop.gap.value,
                low=drop.gap.low,
                high=drop.gap.high,
                p=drop.p_adjusted,
                points=drop.gap.points,
                probability_largest=drop.probability_largest,
                significant=drop.significant,
                visible_gap=drop.visible_gap,
            )
            for drop in found.drops
        ),
        reference=found.reference,
        smallest_visible_gap=found.smallest_visible_gap,
        reason=found.reason,
        sentences=sentences(found),
        parts={name: GapPart(**vars(gap)) for name, gap in measured.parts.items()},
        levels={str(name): value for name, value in measured.level.items()},
        accuracies={str(name): value for name, value in measured.points.items()},
        probabilities={str(mode): share for mode, share in found.probabilities.items()},
        healthy_probability=found.healthy_probability,
        rule=found.rule.name,
        delta=found.delta,
    )
