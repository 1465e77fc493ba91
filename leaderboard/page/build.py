"""Build a board from its entries: `leaderboard.json` and the page. The same entries give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leaderboard.board.entry import FILES, Entry, read_entry
from leaderboard.board.folder import BoardFolder
from leaderboard.board.ranking import TaskAnswers, joined_levels, task_ranks
from leaderboard.board.standing import Board, BoardEntry, BoardTask, JoinedRow
from leaderboard.record.parts import Interval
from leaderboard.record.record import Record, RecordError, by_task_and_accuracy, entry_summary
from leaderboard.record.samples import SampleLine
from leaderboard.verify.submission import read_submission
from probes.stats.metrics import chance_corrected
from tasks.files import write_atomically

FILE = "leaderboard.json"
PAGE = "index.html"


@dataclass(frozen=True, eq=False)
class _Read:
    """An entry as it was read."""

    folder: str
    entry: Entry
    record: Record = field(repr=False)
    test: tuple[SampleLine, ...] = field(repr=False)

    @property
    def name(self) -> str:
        return self.record.full_name

    @property
    def is_reference(self) -> bool:
        return self.record.model.role == "reference"


def make_board(board: BoardFolder) -> Board:
    """Read all entries and rank them.

    The entries' files must be those that were checked; scores are not computed again, which is `verify`.

    Raises:
        RecordError: an entry cannot be read, or its files are others than those that were checked.
    """
    read = sorted(_read_entries(board), key=lambda one: by_task_and_accuracy(_summary(one)))
    by_task: dict[str, list[_Read]] = {}
    for one in read:
        by_task.setdefault(one.record.task.name, []).append(one)
    ranks: dict[str, int] = {}
    for same in by_task.values():
        ranked = [one for one in same if not one.is_reference]
        if ranked:
            found = task_ranks(_answers(ranked))
            ranks |= {one.folder: rank for one, rank in zip(ranked, found, strict=True)}
    return Board(
        title=board.settings.title,
        official=board.settings.official,
        tasks=tuple(_board_task(board, name) for name in by_task),
        entries=tuple(_board_entry(one, ranks.get(one.folder)) for one in read),
        joined=_joined(by_task),
        joined_tasks=tuple(by_task) if len(by_task) > 1 else (),
    )


def board_json(board: Board) -> str:
    """Return the content of `leaderboard.json`."""
    content = {
        "schema_version": 1,
        "title": board.title,
        "official": board.official,
        "tasks": [
            {
                "task": task.name,
                "title": task.title,
                "task_version": task.version,
                "classes": list(task.classes),
                "n_test": task.n_test,
                "official_data": task.official,
            }
            for task in board.tasks
        ],
        "entries": [_json_entry(entry) for entry in board.entries],
        "joined": {
            "tasks": list(board.joined_tasks),
            "models": [
                {
                    "model": row.name,
                    "role": "reference" if row.is_reference else "model",
                    "chance_corrected": row.level.model_dump(),
                    "rank": row.rank,
                }
                for row in board.joined
            ],
        },
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def build(board: BoardFolder) -> tuple[Path, Path]:
    """Write `leaderboard.json` and the page into the board's folder, and return both.

    Raises:
        RecordError: as `make_board`.
    """
    from leaderboard.page.page import render_board

    made = make_board(board)
    file, page = board.path / FILE, board.path / PAGE
    write_atomically(file, board_json(made))
    write_atomically(page, render_board(made))
    return file, page


def _read_entries(board: BoardFolder) -> Iterator[_Read]:
    for folder in board.entry_folders():
        name = folder.relative_to(board.path).as_posix()
        entry, submission = read_entry(folder), read_submission(folder)
        hashes = submission.files.hashes()
        for file in FILES:
            if entry.files.get(file) != hashes[file]:
                raise RecordError(
                    f"{folder}: {file}: not the file that was checked; `harness leaderboard verify {board.path}` "
                    "says more"
                )
        test = tuple(line for line in submission.samples if line.split == "test")
        yield _Read(name, entry, submission.record, test)


def _summary(one: _Read) -> dict[str, Any]:
    return entry_summary(one.record, one.folder)


def _answers(entries: Sequence[_Read]) -> TaskAnswers:
    task = entries[0].record.task
    return TaskAnswers.of(task.name, len(task.classes), [one.test for one in entries])


def _board_task(board: BoardFolder, name: str) -> BoardTask:
    task = board.task(name)
    images = board.images(task)
    return BoardTask(
        name=task.id,
        title=task.title,
        version=task.version,
        modality=task.modality,
        classes=tuple(one.name for one in task.classes),
        n_test=len(images.split("test")),
        official=images.official,
        licence=task.licence,
        citation=task.citation,
    )


def _board_entry(one: _Read, rank: int | None) -> BoardEntry:
    return BoardEntry(
        name=one.name,
        folder=one.folder,
        state=one.entry.state,
        declared=one.entry.declared,
        family=_family(one.record),
        rank=rank,
        level=_level(one.record),
        record=one.record,
        rerun=one.entry.rerun,
    )


def _family(record: Record) -> str:
    return record.model.family or record.model.architecture.removesuffix("ForConditionalGeneration")


def _level(record: Record) -> Interval:
    if record.answers is None:
        raise RecordError(f"{record.model.name} on {record.task.name}: no answers; verify the board")
    found, classes = record.answers.balanced_accuracy, len(record.task.classes)
    value, low, high = (float(chance_corrected(v, classes)) for v in (found.value, found.low, found.high))
    return Interval(value=value, low=low, high=high, n=found.n)


def _joined(by_task: Mapping[str, Sequence[_Read]]) -> tuple[JoinedRow, ...]:
    """Join the models that have an entry on every task; references take part, but are not ranked."""
    if len(by_task) < 2:
        return ()
    names = [{one.name: one for one in same} for same in by_task.values()]
    complete = [name for name in names[0] if all(name in found for found in names)]
    models = [name for name in complete if not names[0][name].is_reference]
    references = [name for name in complete if names[0][name].is_reference]
    rows: list[JoinedRow] = []
    for chosen, ranked in ((models, True), (references, False)):
        if not chosen:
            continue
        means, ranks = joined_levels([_answers([found[name] for name in chosen]) for found in names])
        for name, mean, rank in zip(chosen, means, ranks, strict=True):
            record = names[0][name].record
            rows.append(
                JoinedRow(
                    name, _family(record), record.model.parameters, not ranked, mean, rank if ranked else None
                )
            )
    return tuple(sorted(rows, key=lambda row: (-row.level.value, row.name)))


def _json_entry(entry: BoardEntry) -> dict[str, Any]:
    record = entry.record
    return {
        **entry_summary(record, entry.folder),
        "rank": entry.rank,
        "chance_corrected": entry.level.model_dump(),
        "state": entry.state,
        "rerun": entry.rerun.model_dump() if entry.rerun else None,
        "declared": list(entry.declared),
        "family": entry.family,
        "architecture": record.model.architecture,
        "base": record.model.base,
        "hub_id": record.model.hub_id,
        "harness_version": record.provenance.harness_version,
    }
