"""Check what a record declares and its lines cannot show: that it is there, and can be true at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leaderboard.record.checks import FloorsPart
from leaderboard.record.record import Record
from leaderboard.record.samples import CLASS_READOUTS, FLOORS, MAIN_READOUT, ProbeLine
from leaderboard.verify.record_rules import refuse
from probes.stats.equivalence import MARGIN
from tasks.spec import TaskSpec

_MOST_PARAMETERS = 10**15
_ROUNDING = 1e-6


def check_declared(record: Record, lines: Sequence[ProbeLine], task: TaskSpec) -> None:
    """Refuse a declared value that no run gives, or that a run with probes always has and this one has not.

    A verdict asks the p-values against permuted labels whether there is any signal: without them it would
    never say that there is none.

    Raises:
        RecordError: naming the field.
    """
    if not 0 <= record.model.parameters <= _MOST_PARAMETERS:
        refuse("model.parameters", record.model.parameters, "a model has not so many")
    if record.similarity is not None and record.similarity.inert_margin != MARGIN:
        refuse("similarity.inert_margin", record.similarity.inert_margin, f"must be {MARGIN}")
    if record.floors is not None:
        _check_blank(record.floors, len(task.classes))
    for name, share in _shares(record):
        if share is not None and not -_ROUNDING <= share <= 1 + _ROUNDING:
            refuse(name, share, "must be 0 to 1")
    for name, amount in record.cost.seconds.items():
        if amount < 0:
            refuse(f"cost.seconds.{name}", amount, "no time is negative")
    for name, p in _p_values(record):
        if p is not None and not 0 < p <= 1:
            refuse(name, p, "is no p-value")
    if lines:
        _check_tested(record, lines)


def _check_blank(floors: FloorsPart, classes: int) -> None:
    if floors.blank is None:
        return
    found = floors.blank.probabilities
    if len(found) != classes or not all(0 <= p <= 1 for p in found) or abs(sum(found) - 1) > 1e-6:
        refuse("floors.blank.probabilities", found, f"must be {classes} that add up to 1, one a class")


def _shares(record: Record) -> Iterator[tuple[str, float | None]]:
    """Yield what lies between 0 and 1 by what it is."""
    permuted, similar, projected = record.permutation, record.similarity, record.projection
    if permuted is not None:
        yield "permutation.highest", permuted.highest
        for place, band in permuted.bands.items():
            yield from ((f"permutation.bands.{place}", quantile) for quantile in band)
    if similar is not None:
        for name in ("cka", "knn_overlap", "knn_chance"):
            yield f"similarity.{name}", getattr(similar, name)
    if projected is not None:
        for place, accuracy in projected.balanced_accuracies.items():
            yield f"projection.balanced_accuracies.{place}", accuracy
    for layer in (record.floors and record.floors.random_vision) or ():
        yield f"floors.random_vision.{layer.site}", layer.balanced_accuracy.value


def _p_values(record: Record) -> Iterator[tuple[str, float | None]]:
    for place, part in enumerate(record.probes):
        yield f"probes[{place}].permutation_p", part.permutation_p
    if record.permutation is not None:
        yield "permutation.vision_p", record.permutation.vision_p
    if record.floors is not None:
        for name in FLOORS:
            yield f"floors.{name}.permutation_p", getattr(record.floors, name).permutation_p


def _check_tested(record: Record, lines: Sequence[ProbeLine]) -> None:
    """Every place was tested against permuted labels, and so were the reference and the pixels."""
    places = {f"{line.site}.{line.pool}" for line in lines if line.readout in CLASS_READOUTS}
    found = record.permutation
    if found is None:
        refuse("permutation", None, "every run with probes has it")
    if set(found.bands) != places:
        wrong = sorted(set(found.bands) ^ places)
        refuse("permutation.bands", wrong, "must be those of the layers in probes.jsonl")
    if found.vision_p is None:
        refuse("permutation.vision_p", None, "every run with probes has it")
    for place, part in enumerate(record.probes):
        if (part.readout == MAIN_READOUT) != (part.permutation_p is not None):
            refuse(
                f"probes[{place}].permutation_p",
                part.permutation_p,
                f"every {MAIN_READOUT} probe has one, and no other",
            )
    for name in ("reference", "pixels"):
        if record.floors is not None and getattr(record.floors, name).permutation_p is None:
            refuse(f"floors.{name}.permutation_p", None, "every run with probes has it")
