"""Which results of a study are compared with which; how is in `leaderboard.compare.contrasts`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.study.cells import Cell
from harness.study.document import Study
from leaderboard.compare.contrasts import (
    FINE_TUNING,
    MEDICAL,
    REFERENCE,
    Contrast,
    answer_contrast,
    concluded,
    layer_contrast,
    probe_contrast,
)
from leaderboard.compare.measured import Measured
from leaderboard.record.record import RecordError

_Key = tuple[str, str, str]
_Compare = Callable[[str, Measured, Measured], Iterator[Contrast]]


@dataclass(frozen=True)
class Comparisons:
    """What was compared, and why results that should have been were not."""

    contrasts: tuple[Contrast, ...]
    refused: tuple[str, ...]


def compare(study: Study, results: Sequence[tuple[Cell, Measured]]) -> Comparisons:
    """Return every comparison of a study, question by question, corrected within each question.

    Tuned against released; a medical model against its base, in each condition; a model against the first of
    the references; the best vision layer against the one that the connector reads; the probe of the last layer
    against the answer. Two results that are not of the same test images are refused, and the others compared.
    """
    found = {cell.key: measured for cell, measured in results if measured.record.answers is not None}
    models = [cell for cell, _ in results if not cell.reference and cell.key in found]
    seed = study.seed
    refused: list[str] = []

    def answers(family: str, first: Measured, second: Measured) -> Iterator[Contrast]:
        try:
            yield answer_contrast(family, first, second, seed=seed)
        except RecordError as error:
            refused.append(str(error))

    contrasts = [
        *_tuning(models, found, answers),
        *_medical(study, models, found, answers),
        *_references(results, models, found, answers),
        *(_present(layer_contrast(found[cell.key], study.readouts[0], seed=seed) for cell in models)),
        *(_present(probe_contrast(found[cell.key], study.readouts[0], seed=seed) for cell in models)),
    ]
    return Comparisons(concluded(contrasts), tuple(refused))


def _tuning(models: Sequence[Cell], found: Mapping[_Key, Measured], answers: _Compare) -> Iterator[Contrast]:
    for cell in models:
        before = found.get((cell.model, cell.task, "released"))
        if cell.condition != "released" and before is not None:
            yield from answers(FINE_TUNING, found[cell.key], before)


def _medical(
    study: Study, models: Sequence[Cell], found: Mapping[_Key, Measured], answers: _Compare
) -> Iterator[Contrast]:
    stated = {cell.model: cell.card.base for cell in models if cell.card is not None and cell.card.base}
    pairs = [*stated.items(), *((pair.model, pair.base) for pair in study.pairs)]
    for model, base in dict.fromkeys(pairs):
        for cell in models:
            other = found.get((base, cell.task, cell.condition))
            if cell.model == model and other is not None:
                yield from answers(MEDICAL, found[cell.key], other)


def _references(
    results: Sequence[tuple[Cell, Measured]],
    models: Sequence[Cell],
    found: Mapping[_Key, Measured],
    answers: _Compare,
) -> Iterator[Contrast]:
    """Compare with the reference that the study names first: choosing the best one here would favour it."""
    references = [cell.model for cell, _ in results if cell.reference]
    for cell in models:
        other = found.get((references[0], cell.task, "released")) if references else None
        if other is not None:
            yield from answers(REFERENCE, found[cell.key], other)


def _present(contrasts: Iterator[Contrast | None]) -> Iterator[Contrast]:
    return (contrast for contrast in contrasts if contrast is not None)
