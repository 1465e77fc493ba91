"""Put a result on a board, and verify what is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from leaderboard.board_folder import BoardFolder
from leaderboard.entry import (
    ENTRIES,
    FILES,
    RECORD,
    SAMPLES,
    SUMMARY,
    Entry,
    EntryFiles,
    Rerun,
    entry_folder,
    read_entry,
    write_entry,
)
from leaderboard.record import Record, RecordError, dump_record, read_record
from leaderboard.record_rules import finished
from leaderboard.sample_checks import short
from leaderboard.submission import Checked, check_submission, read_submission
from tasks.spec import TaskError


@dataclass(frozen=True)
class Verdict:
    """What came of checking an entry: its folder below the board's, and what is wrong, None where nothing is."""

    folder: str
    problem: str | None
    state: str | None = None


def submit(folder: Path, board: BoardFolder, *, replace: bool = False) -> Path:
    """Check a result folder, compute its scores again, and write it as an entry of the board.

    Args:
        folder: a result folder; it is only read.
        board: where it goes.
        replace: let it take the place of an older result of the same model and task.

    Returns:
        The entry's folder.

    Raises:
        RecordError: the result is refused; the message names the field.
    """
    checked = check_submission(read_submission(folder), board)
    where = entry_folder(checked.record)
    target = board.path / ENTRIES / where
    _refuse_other_spelling(target, board)
    files = EntryFiles({**checked.files.content, RECORD: dump_record(checked.record).encode()})
    _refuse_known(target, files, checked.record, replace)
    _refuse_copies(target, files, board.entry_folders())
    entry = Entry(
        state="recomputed",
        official_data=checked.official,
        declared=checked.declared,
        files=files.hashes(),
    )
    write_entry(target, entry, files)
    return target


def check_entry(folder: Path, board: BoardFolder) -> tuple[Entry, Checked]:
    """Check an entry as it was when it was handed in, and that its files are those that were checked.

    Raises:
        RecordError: naming the entry's file and field.
    """
    entry = read_entry(folder)
    _check_files(folder)
    submission = read_submission(folder)
    hashes = submission.files.hashes()
    for name in FILES:
        if entry.files.get(name) != hashes[name]:
            raise RecordError(f"{SUMMARY}: files.{name}: not the file that was checked; was it edited?")
    checked = check_submission(submission, board)
    right = entry_folder(checked.record)
    if folder != board.path / ENTRIES / right:
        raise RecordError(f"{RECORD}: model.name, condition or task.name: this entry belongs into {right}")
    stated = {"official_data": checked.official, "declared": checked.declared}
    for name, value in stated.items():
        if getattr(entry, name) != value:
            raise RecordError(
                f"{SUMMARY}: {name}: {short(getattr(entry, name))}, but it must be {short(value)}"
            )
    if (entry.state == "rerun") != (entry.rerun is not None):
        raise RecordError(f"{SUMMARY}: state: {entry.state}, but `rerun` does not say so")
    return entry, checked


def verify(board: BoardFolder, folders: Iterable[Path] | None = None) -> tuple[Verdict, ...]:
    """Check these entries, or all of the board, one by one; a wrong one does not keep others from being checked."""
    chosen = board.entry_folders() if folders is None else tuple(folders)
    found = [*(_verdict(folder, board) for folder in chosen), *_strays(board)]
    return tuple(found)


def mark_rerun(folder: Path, board: BoardFolder, rerun: Rerun) -> None:
    """Write into an entry that the keeper ran it again.

    Raises:
        RecordError: the entry does not verify.
    """
    entry, checked = check_entry(folder, board)
    marked = entry.model_copy(update={"state": "rerun", "rerun": rerun})
    write_entry(folder, marked, checked.files)


def _verdict(folder: Path, board: BoardFolder) -> Verdict:
    name = (
        folder.relative_to(board.path).as_posix() if folder.is_relative_to(board.path) else folder.as_posix()
    )
    try:
        entry, _ = check_entry(folder, board)
    except (RecordError, TaskError) as error:
        return Verdict(name, " ".join(str(error).split()))
    return Verdict(name, None, entry.state)


def _strays(board: BoardFolder) -> Sequence[Verdict]:
    """Name what lies among the entries and is none: it would be shown nowhere, and carried along."""
    root = board.path / ENTRIES
    strays = [p for p in sorted(root.glob("*")) if not p.is_dir() and p.name != ".gitkeep"]
    strays += [p for p in sorted(root.glob("*/*")) if not p.is_dir()]
    return [Verdict(p.relative_to(board.path).as_posix(), "no entry: remove it") for p in strays]


def _check_files(folder: Path) -> None:
    known = {SUMMARY, *FILES}
    for path in sorted(folder.iterdir()):
        if path.name not in known:
            raise RecordError(
                f"{short(path.name)}: an entry holds {', '.join(sorted(known))} alone; remove it"
            )


def _refuse_other_spelling(target: Path, board: BoardFolder) -> None:
    """Names that differ in case alone are one folder on some file systems."""
    for other in board.entry_folders():
        same = (other.parent.name.lower(), other.name.lower()) == (
            target.parent.name.lower(),
            target.name.lower(),
        )
        if same and other != target:
            raise RecordError(
                f"record.json: model.name: differs from the entry {other.parent.name} in upper and lower case alone"
            )


def _refuse_known(target: Path, files: EntryFiles, record: Record, replace: bool) -> None:
    if not target.exists():
        return
    name = f"{target.parent.name}/{target.name}"
    before = read_entry(target)
    lines = {key: value for key, value in files.hashes().items() if key != RECORD}
    if lines == {key: value for key, value in before.files.items() if key != RECORD}:
        raise RecordError(f"samples.jsonl: the very same answers are on the board already, as {name}")
    there = read_record(target / RECORD)
    if finished(record) <= finished(there):
        raise RecordError(
            f"record.json: provenance.finished: {record.provenance.finished}, older than the entry {name} "
            f"({there.provenance.finished})"
        )
    if not replace:
        raise RecordError(
            f"record.json: model.name: the board has an older result of this model and task ({name}); --replace "
            "puts this one in its place"
        )


def _refuse_copies(target: Path, files: EntryFiles, others: Iterable[Path]) -> None:
    """Two models never give the same scores to the last digit on every image."""
    digest = files.hashes()[SAMPLES]
    for other in others:
        if other != target and read_entry(other).files.get(SAMPLES) == digest:
            raise RecordError(
                f"samples.jsonl: the very same answers are on the board already, as "
                f"{other.parent.name}/{other.name}"
            )
