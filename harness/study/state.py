"""The state of a study: one small file that says of every cell where it is, for people and for scripts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.console import print_table
from harness.study.cells import Cell, State
from harness.study.document import Study
from tasks.files import write_atomically

FILE = "state.json"


class Progress:
    """The cells of a study as they are now; every change is written at once."""

    def __init__(self, study: Study, cells: Sequence[Cell], output: Path) -> None:
        self._study, self._output = study, output
        self._cells = {cell.key: cell for cell in cells}
        self._write()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells in the order in which they are done."""
        return tuple(self._cells.values())

    def change(self, cell: Cell, state: State, reason: str | None = None) -> None:
        """Bring a cell into another state."""
        self._cells[cell.key] = cell.now(state, reason)
        self._write()

    def _write(self) -> None:
        lines = [
            {
                "model": cell.model,
                "task": cell.task,
                "condition": cell.condition,
                "state": cell.state,
                "reason": cell.reason,
                "folder": str(cell.folder(Path())) if cell.state == "done" else None,
            }
            for cell in self.cells
        ]
        content = {"schema_version": 1, "study": self._study.name, "cells": lines}
        write_atomically(self._output / FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def state_table(title: str, cells: Sequence[Cell], output: Path) -> None:
    """Print every cell with its state, and its folder or why there is none."""
    rows = [
        (cell.model, cell.task, cell.condition, cell.state, cell.reason or str(cell.folder(output)))
        for cell in cells
    ]
    print_table(title, ("model", "task", "condition", "state", "folder or reason"), rows)


def in_numbers(cells: Sequence[Cell]) -> str:
    """Say how many cells are in which state."""
    counts = Counter(cell.state for cell in cells)
    return ", ".join(f"{count} {state}" for state, count in counts.items())
