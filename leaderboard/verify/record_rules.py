"""What a record must say to stand on a board, beside its scores: complete, current, on the listed images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from leaderboard.board.image_list import ImageList
from leaderboard.record.record import Record, RecordError
from leaderboard.record.untrusted import short
from leaderboard.scoring.score import SCORING_VERSION
from tasks.identity import task_hash
from tasks.spec import TaskSpec

SEED = 0  # of every run on a board, and so of the draws by which it is computed again
_AHEAD = timedelta(days=1)  # by which a clock may be ahead
_CONFIGURATION = 200_000  # letters of the longest, as JSON: anything could be put there


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
        refuse(
            "task.official_data",
            record.task.official_data,
            "the data are not known to be the published ones, and this board takes no others; a board of "
            "unofficial data takes them (`harness leaderboard init --unofficial`)",
        )
    if record.task.official_data and not images.official:
        refuse("task.official_data", True, f"the list of {task.id} is of unofficial data")
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
        refuse("provenance.finished", record.provenance.finished, "must be a time with its zone")
    return found


def _check_state(record: Record) -> None:
    if record.status != "complete":
        refuse(
            "status", record.status, "a board holds complete runs; run it on all test images, without --limit"
        )
    if record.error is not None:
        refuse("error", record.error, "a complete run has none")
    if record.answers is None:
        refuse("answers", None, "a complete run has answers")
    if finished(record) > datetime.now(UTC) + _AHEAD:
        refuse("provenance.finished", record.provenance.finished, "is in the future")


def _check_task(record: Record, task: TaskSpec, images: ImageList) -> None:
    stated = record.task
    if stated.version != task.version:
        age = "older" if stated.version < task.version else "newer"
        refuse("task.version", stated.version, f"{age} than version {task.version}; run it again on that one")
    names = tuple(one.name for one in task.classes)
    if stated.classes != names:
        refuse("task.classes", stated.classes, f"must be {short(names)}")
    if stated.dataset_fingerprint != images.fingerprint:
        refuse(
            "task.dataset_fingerprint",
            stated.dataset_fingerprint,
            f"the listed images have {images.fingerprint}: other pixels, labels or splits",
        )
    for split, count in (("val", stated.n_val), ("test", stated.n_test)):
        listed = len(images.split("val" if split == "val" else "test"))
        if count != listed:
            refuse(f"task.n_{split}", count, f"the list has {listed} images")
    most = min(task.max_train, len(images.split("train")))
    if stated.n_train > most or (stated.n_train < most and not halved(record)):
        refuse("task.n_train", stated.n_train, f"must be {most}; run it without --max-train")
    if 4 * stated.n_train < most:  # a half by whole groups, of which one may be large
        refuse("task.n_train", stated.n_train, f"no half of {most}")


def halved(record: Record) -> bool:
    """Whether probes were fitted on half of the training images, as for tuned models and their siblings."""
    return record.tuning is not None or bool(_options(record).get("probing_half"))


def _check_configuration(record: Record, task: TaskSpec) -> None:
    """The configuration is declared; what it says must fit the board all the same."""
    size = len(json.dumps(record.configuration, ensure_ascii=False))
    if size > _CONFIGURATION:
        refuse("configuration", f"{size} letters", f"at most {_CONFIGURATION} are allowed")
    stated, options = _mapping(record.configuration, "task"), _options(record)
    if stated.get("hash") != task_hash(task):
        refuse(
            "configuration.task.hash",
            stated.get("hash"),
            f"task {task.id} has {task_hash(task)}: other words or settings; run it on the task as it is here",
        )
    for name in ("limit", "max_train"):
        if options.get(name) is not None:
            refuse(f"configuration.options.{name}", options[name], "must be null on a board")
    for name, seed in (
        ("provenance.seed", record.provenance.seed),
        ("configuration.options.seed", options.get("seed")),
    ):
        if seed != SEED or isinstance(seed, bool):
            refuse(name, seed, f"must be {SEED}, as by default: among many seeds a lucky one could be chosen")
    version = _mapping(record.configuration, "judgement").get("scoring_version")
    if version != SCORING_VERSION:
        refuse(
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
        refuse("condition", record.condition, "a tuned model has lora")
    if tuning.n_test_shared:
        refuse("tuning.n_test_shared", tuning.n_test_shared, "the model was tuned on test images")
    if not tuning.disjoint or tuning.n_shared:
        refuse("tuning.n_shared", tuning.n_shared, "its probes were fitted on images that it was tuned on")


def _options(record: Record) -> Mapping[str, Any]:
    return _mapping(record.configuration, "options")


def _mapping(configuration: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = configuration.get(key)
    if not isinstance(found, Mapping):
        refuse(f"configuration.{key}", found, "must hold the settings of the run")
    return found


def refuse(name: str, found: object, reason: str) -> NoReturn:
    """Raise the RecordError that names a field of a record, what was found there, and the reason."""
    raise RecordError(f"record.json: {name}: {short(found)}: {reason}")
