"""Collect a results folder's records into its `leaderboard.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from filelock import FileLock

from harness.store import write_atomically
from leaderboard.record import Record, read_record

FILE = "leaderboard.json"


def collect(output: Path) -> Path:
    """Write `<output>/leaderboard.json` from every record below it and return its path.

    Entries are sorted by task, then by accuracy, best first; partial records follow and are marked.

    Raises:
        RecordError: a record below the folder breaks the schema.
    """
    path = output / FILE
    with FileLock(str(output / f".{FILE}.lock")):
        found = sorted(output.glob("*/*/record.json"))
        entries = [_entry(read_record(record), record.parent.relative_to(output)) for record in found]
        entries.sort(key=_rank)
        board = {"schema_version": 1, "entries": entries}
        write_atomically(path, json.dumps(board, indent=2, ensure_ascii=False) + "\n")
    return path


def _entry(record: Record, folder: Path) -> dict[str, Any]:
    """Return what the board shows of a record."""
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
        "accuracy": answers.accuracy.model_dump() if answers else None,
        "balanced_accuracy": answers.balanced_accuracy.model_dump() if answers else None,
        "generated_accuracy": answers.generated_accuracy.model_dump()
        if answers and answers.generated_accuracy
        else None,
        "majority_accuracy": answers.majority_accuracy if answers else None,
        "headline_source": answers.headline_source if answers else None,
        "profile": list(health.profile) if health else None,
        "readout": health.readout if health else None,
        "verdict": record.diagnosis.verdict if record.diagnosis else None,
        "folder": folder.as_posix(),
    }


def _rank(entry: dict[str, Any]) -> tuple[Any, ...]:
    accuracy = entry["accuracy"]["value"] if entry["accuracy"] else -1.0
    return (entry["task"], entry["status"] != "complete", -accuracy, entry["model"], entry["condition"])
