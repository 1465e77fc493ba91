"""What keeps two results from being compared, what keeps a gate from deciding, and what a reader should know."""

from __future__ import annotations

from collections.abc import Mapping

from leaderboard.compare.measured import Measured
from leaderboard.compare.parts import Pair
from leaderboard.record.record import Record, RecordError

FEW_GROUPS = 20


def check_usable(measured: Measured) -> None:
    """Refuse a run that failed, and lines that name classes which the task does not have.

    Raises:
        RecordError: naming the result and the line.
    """
    record = measured.record
    here = f"{measured.name} on {record.task.name}"
    if record.status == "failed":
        why = record.error or "the run's log says why"
        raise RecordError(f"{here}: the run failed ({why}); evaluate it again")
    classes = len(record.task.classes)
    for line in measured.samples:
        named = (line.label, *(k for k in (line.predicted, line.read) if k is not None))
        if any(not 0 <= k < classes for k in named):
            raise RecordError(f"{here}: samples.jsonl: image {line.id}: a class that is none of {classes}")
        if line.scores is not None and len(line.scores) != classes:
            raise RecordError(
                f"{here}: samples.jsonl: image {line.id}: {len(line.scores)} scores, {classes} classes"
            )


def obstacles(pair: Pair) -> tuple[str, ...]:
    """Say why a gate cannot decide on two results that can be compared."""
    sources = [side.record.answers.headline_source for side in pair.sides if side.record.answers]
    if len(set(sources)) < 2:
        return ()
    return (
        f"the headline is read from {sources[0]} in the baseline and from {sources[1]} in the candidate, "
        "which are two measures; evaluate both with engines that give the same",
    )


def _task_hash(record: Record) -> object:
    """Return the hash of the task as the run was asked it, None where its configuration does not say."""
    task = record.configuration.get("task")
    return task.get("hash") if isinstance(task, Mapping) else None


def remarks(pair: Pair) -> tuple[str, ...]:
    """Say what a reader of the comparison should know."""
    found = []
    partial = [side.record.status == "partial" for side in pair.sides]
    if any(partial):
        which = "both runs" if all(partial) else "the baseline" if partial[0] else "the candidate"
        asked, there = len(pair.baseline.test), pair.baseline.record.task.n_test
        found.append(f"partial: {asked} of {there} test images, the same in both ({which} limited)")
    for which, side in zip(("baseline", "candidate"), pair.sides, strict=True):
        errors = sum(line.outcome == "error" for line in side.test)
        if errors:
            found.append(f"{errors} errors in the {which} count as not correct; samples.jsonl says why")
    hashes = [_task_hash(side.record) for side in pair.sides]
    if None not in hashes and hashes[0] != hashes[1]:
        found.append(
            "the task's words or settings differ between the two runs, under one id and version: "
            "a change may be theirs"
        )
    groups = len(set(pair.groups))
    if groups < FEW_GROUPS:
        found.append(f"only {groups} groups of images: little can be shown by so few")
    return tuple(found)
