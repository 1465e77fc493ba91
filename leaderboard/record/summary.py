"""What a `leaderboard.json` holds of a record: the same keys in a results folder and on a board."""

from __future__ import annotations

from typing import Any

from leaderboard.record.record import Interval, Record


def entry_summary(record: Record, folder: str) -> dict[str, Any]:
    """Return what a board shows of a record; `folder` is below the board's, with forward slashes."""
    answers, health = record.answers, record.health
    return {
        "model": record.model.name,
        "role": record.model.role,
        "engine": record.model.engine,
        "revision": record.model.revision,
        "parameters": record.model.parameters,
        "condition": record.condition,
        "task": record.task.name,
        "task_version": record.task.version,
        "dataset_fingerprint": record.task.dataset_fingerprint,
        "official_data": record.task.official_data,
        "seen_in_training": record.model.seen_in_training,
        "status": record.status,
        "accuracy": _dumped(answers.accuracy) if answers else None,
        "balanced_accuracy": _dumped(answers.balanced_accuracy) if answers else None,
        "generated_accuracy": _dumped(answers.generated_accuracy) if answers else None,
        "majority_accuracy": answers.majority_accuracy if answers else None,
        "headline_source": answers.headline_source if answers else None,
        "profile": list(health.profile) if health else None,
        "readout": health.readout if health else None,
        "verdict": record.diagnosis.verdict if record.diagnosis else None,
        "folder": folder,
    }


def by_task_and_accuracy(entry: dict[str, Any]) -> tuple[Any, ...]:
    """The order of entries: by task, complete ones first, then by accuracy, best first."""
    accuracy = entry["accuracy"]["value"] if entry["accuracy"] else -1.0
    return (entry["task"], entry["status"] != "complete", -accuracy, entry["model"], entry["condition"])


def _dumped(interval: Interval | None) -> dict[str, Any] | None:
    return interval.model_dump() if interval else None
