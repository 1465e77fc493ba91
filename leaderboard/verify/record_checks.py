"""Check what a record says beside its scores: complete, current, on the listed images, and possible at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from leaderboard.board.image_list import ImageList
from leaderboard.record.checks import FloorsPart
from leaderboard.record.record import Record, RecordError
from leaderboard.record.samples import CLASS_READOUTS, FLOORS, MAIN_READOUT, ProbeLine
from leaderboard.record.untrusted import short
from leaderboard.scoring.score import SCORING_VERSION
from probes.stats.equivalence import MARGIN
from tasks.spec import TaskSpec, task_hash

SEED = 0  # of every run on a board, and so of the draws by which it is computed again
_AHEAD = timedelta(days=1)  # by which a clock may be ahead
_CONFIGURATION = 200_000  # letters of the longest, as JSON: anything could be put there
_MOST_PARAMETERS = 10**15
_ROUNDING = 1e-6


def check_record(record: Record, task: TaskSpec, images: ImageList, official: bool) -> None:
    """Refuse a record that a board of this task cannot hold.

    Args:
        record: as declared.
        task: the task as the board knows it.
        images: the list of its images.
        official: whether the board takes official data alone.

    Raises:
        RecordError: naming the field and the way out.
    """
    _check_state(record)
    _check_task(record, task, images)
    if official and not (images.official and record.task.official_data):
        _refuse(
            "task.official_data",
            record.task.official_data,
            "the data are not known to be the published ones, and this board takes no others; a board of "
            "unofficial data takes them (`harness leaderboard init --unofficial`)",
        )
    if record.task.official_data and not images.official:
        _refuse("task.official_data", True, f"the list of {task.id} is of unofficial data")
    _check_configuration(record, task)
    _check_tuning(record)


def finished(record: Record) -> datetime:
    """Return when the run ended, by its own word.

    Raises:
        RecordError: that is no time with a zone.
    """
    try:
        found = datetime.fromisoformat(record.provenance.finished)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        _refuse("provenance.finished", record.provenance.finished, "must be a time with its zone")
    return found


def _check_state(record: Record) -> None:
    if record.status != "complete":
        _refuse(
            "status", record.status, "a board holds complete runs; run it on all test images, without --limit"
        )
    if record.error is not None:
        _refuse("error", record.error, "a complete run has none")
    if record.answers is None:
        _refuse("answers", None, "a complete run has answers")
    if finished(record) > datetime.now(UTC) + _AHEAD:
        _refuse("provenance.finished", record.provenance.finished, "is in the future")


def _check_task(record: Record, task: TaskSpec, images: ImageList) -> None:
    stated = record.task
    if stated.version != task.version:
        age = "older" if stated.version < task.version else "newer"
        _refuse(
            "task.version", stated.version, f"{age} than version {task.version}; run it again on that one"
        )
    names = tuple(one.name for one in task.classes)
    if stated.classes != names:
        _refuse("task.classes", stated.classes, f"must be {short(names)}")
    if stated.dataset_fingerprint != images.fingerprint:
        _refuse(
            "task.dataset_fingerprint",
            stated.dataset_fingerprint,
            f"the listed images have {images.fingerprint}: other pixels, labels or splits",
        )
    for split, count in (("val", stated.n_val), ("test", stated.n_test)):
        listed = len(images.split("val" if split == "val" else "test"))
        if count != listed:
            _refuse(f"task.n_{split}", count, f"the list has {listed} images")
    most = min(task.max_train, len(images.split("train")))
    if stated.n_train > most or (stated.n_train < most and not halved(record)):
        _refuse("task.n_train", stated.n_train, f"must be {most}; run it without --max-train")
    if 4 * stated.n_train < most:  # a half by whole groups, of which one may be large
        _refuse("task.n_train", stated.n_train, f"no half of {most}")


def halved(record: Record) -> bool:
    """Whether probes were fitted on half of the training images, as for tuned models and their siblings."""
    return record.tuning is not None or bool(_options(record).get("probing_half"))


def _check_configuration(record: Record, task: TaskSpec) -> None:
    """The configuration is declared; what it says must fit the board all the same."""
    size = len(json.dumps(record.configuration, ensure_ascii=False))
    if size > _CONFIGURATION:
        _refuse("configuration", f"{size} letters", f"at most {_CONFIGURATION} are allowed")
    stated, options = _mapping(record.configuration, "task"), _options(record)
    if stated.get("hash") != task_hash(task):
        _refuse(
            "configuration.task.hash",
            stated.get("hash"),
            f"task {task.id} has {task_hash(task)}: other words or settings; run it on the task as it is here",
        )
    for name in ("limit", "max_train"):
        if options.get(name) is not None:
            _refuse(f"configuration.options.{name}", options[name], "must be null on a board")
    for name, seed in (
        ("provenance.seed", record.provenance.seed),
        ("configuration.options.seed", options.get("seed")),
    ):
        if seed != SEED or isinstance(seed, bool):
            _refuse(
                name, seed, f"must be {SEED}, as by default: among many seeds a lucky one could be chosen"
            )
    version = _mapping(record.configuration, "judgement").get("scoring_version")
    if version != SCORING_VERSION:
        _refuse(
            "configuration.judgement.scoring_version",
            version,
            f"scores are computed by version {SCORING_VERSION}; start the same command again with this version "
            "of the harness",
        )


def _check_tuning(record: Record) -> None:
    tuning = record.tuning
    if tuning is None:
        return
    if record.condition != "lora":
        _refuse("condition", record.condition, "a tuned model has lora")
    if tuning.n_test_shared:
        _refuse("tuning.n_test_shared", tuning.n_test_shared, "the model was tuned on test images")
    if not tuning.disjoint or tuning.n_shared:
        _refuse("tuning.n_shared", tuning.n_shared, "its probes were fitted on images that it was tuned on")


def _options(record: Record) -> Mapping[str, Any]:
    return _mapping(record.configuration, "options")


def _mapping(configuration: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = configuration.get(key)
    if not isinstance(found, Mapping):
        _refuse(f"configuration.{key}", found, "must hold the settings of the run")
    return found


def check_declared(record: Record, lines: Sequence[ProbeLine], task: TaskSpec) -> None:
    """Refuse a declared value that no run gives, or that a run with probes always has and this one has not.

    A verdict asks the p-values against permuted labels whether there is any signal: without them it would
    never say that there is none.

    Raises:
        RecordError: naming the field.
    """
    if not 0 <= record.model.parameters <= _MOST_PARAMETERS:
        _refuse("model.parameters", record.model.parameters, "a model has not so many")
    if record.similarity is not None and record.similarity.inert_margin != MARGIN:
        _refuse("similarity.inert_margin", record.similarity.inert_margin, f"must be {MARGIN}")
    if record.floors is not None:
        _check_blank(record.floors, len(task.classes))
    for name, share in _shares(record):
        if share is not None and not -_ROUNDING <= share <= 1 + _ROUNDING:
            _refuse(name, share, "must be 0 to 1")
    for name, amount in record.cost.seconds.items():
        if amount < 0:
            _refuse(f"cost.seconds.{name}", amount, "no time is negative")
    for name, p in _p_values(record):
        if p is not None and not 0 < p <= 1:
            _refuse(name, p, "is no p-value")
    if lines:
        _check_tested(record, lines)


def _check_blank(floors: FloorsPart, classes: int) -> None:
    if floors.blank is None:
        return
    found = floors.blank.probabilities
    if len(found) != classes or not all(0 <= p <= 1 for p in found) or abs(sum(found) - 1) > 1e-6:
        _refuse("floors.blank.probabilities", found, f"must be {classes} that add up to 1, one a class")


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
        _refuse("permutation", None, "every run with probes has it")
    if set(found.bands) != places:
        wrong = sorted(set(found.bands) ^ places)
        _refuse("permutation.bands", wrong, "must be those of the layers in probes.jsonl")
    if found.vision_p is None:
        _refuse("permutation.vision_p", None, "every run with probes has it")
    for place, part in enumerate(record.probes):
        if (part.readout == MAIN_READOUT) != (part.permutation_p is not None):
            _refuse(
                f"probes[{place}].permutation_p",
                part.permutation_p,
                f"every {MAIN_READOUT} probe has one, and no other",
            )
    for name in ("reference", "pixels"):
        if record.floors is not None and getattr(record.floors, name).permutation_p is None:
            _refuse(f"floors.{name}.permutation_p", None, "every run with probes has it")


def _refuse(name: str, found: object, reason: str) -> NoReturn:
    """Raise the RecordError that names a field of a record, what was found there, and the reason."""
    raise RecordError(f"record.json: {name}: {short(found)}: {reason}")
