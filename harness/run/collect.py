"""Collect a results folder's records into its `leaderboard.json`."""

from __future__ import annotations

import json
from pathlib import Path

from leaderboard.record.record import by_task_and_accuracy, entry_summary, read_record
from tasks.files import locked, write_atomically

FILE = "leaderboard.json"


def collect(output: Path) -> Path:
    """Write `<output>/leaderboard.json` from every record below it and return its path.

    Entries are sorted by task, then by accuracy, best first; partial records follow and are marked.

    Raises:
        RecordError: a record below the folder breaks the schema.
    """
    path = output / FILE
    with locked(output / f".{FILE}.lock"):
        found = sorted(output.glob("*/*/record.json"))
        entries = [
            entry_summary(read_record(record), record.parent.relative_to(output).as_posix())
            for record in found
        ]
        entries.sort(key=by_task_and_accuracy)
        board = {"schema_version": 1, "entries": entries}
        write_atomically(path, json.dumps(board, indent=2, ensure_ascii=False) + "\n")
    return path
