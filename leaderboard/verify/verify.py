"""Verify the entries of a board as if nobody could be trusted, each as when it was handed in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from leaderboard.board.entry import (
    ENTRIES,
    FILES,
    RECORD,
    SUMMARY,
    Entry,
    Rerun,
    dump_entry,
    entry_folder,
    read_entry,
    write_entry,
)
from leaderboard.board.folder import BoardFolder
from leaderboard.record.record import RecordError
from leaderboard.record.untrusted import printable, read_plain, short
from leaderboard.verify.entry_checks import (
    BoardAnswers,
    refuse_copies,
    refuse_links,
    refuse_older,
    refuse_other_spelling,
    refuse_two_models,
)
from leaderboard.verify.submission import LIMITS, Checked, Submission, check_submission, read_submission
from tasks.spec import TaskError


@dataclass(frozen=True)
class Verified:
    """What came of checking an entry: its folder below the board's, and what is wrong, None where nothing is."""

    folder: str
    problem: str | None
    state: str | None = None


@dataclass(frozen=True, eq=False)
class CheckedEntry:
    """An entry that verified: what its entry.json says, what was handed in, and what was computed of that."""

    folder: Path
    entry: Entry
    submission: Submission
    checked: Checked


def check_entry(folder: Path, board: BoardFolder, others: BoardAnswers | None = None) -> CheckedEntry:
    """Check an entry as it was when it was handed in, and that its files are those that were checked.

    Args:
        folder: the entry's, below the board's.
        board: the board.
        others: the answers on the board, where they are read already.

    Raises:
        RecordError: naming the entry's file and field.
    """
    _check_files(folder)
    entry = read_entry(folder)
    submission = read_submission(folder)
    hashes = submission.files.hashes()
    for name in sorted({*FILES, *entry.files}):
        if entry.files.get(name) != hashes.get(name):
            raise RecordError(
                f"{SUMMARY}: files.{printable(name, 80)}: not the file that was checked; was it edited?"
            )
    checked = check_submission(submission, board)
    _check_place(folder, submission, checked, others or BoardAnswers(board))
    stated = {"official_data": checked.official, "declared": checked.declared}
    for name, value in stated.items():
        if getattr(entry, name) != value:
            raise RecordError(
                f"{SUMMARY}: {name}: {short(getattr(entry, name))}, but it must be {short(value)}"
            )
    if (entry.state == "rerun") != (entry.rerun is not None):
        raise RecordError(f"{SUMMARY}: state: {entry.state}, but `rerun` does not say so")
    written = {SUMMARY: dump_entry(entry).encode(), **checked.files.content}
    found = {SUMMARY: read_plain(folder / SUMMARY, LIMITS.record), **submission.files.content}
    for name, content in written.items():
        if found[name] != content:
            raise RecordError(
                f"{name}: says the same, but not as `harness submit` writes it; submit it again"
            )
    return CheckedEntry(folder, entry, submission, checked)


def verify(
    board: BoardFolder,
    folders: Iterable[Path] | None = None,
    *,
    rerun: bool = True,
    before: BoardFolder | None = None,
) -> tuple[Verified, ...]:
    """Check these entries, or all of the board, one by one; a wrong one does not keep others from being checked.

    Args:
        board: the board.
        folders: of the entries; all by default.
        rerun: let entries be marked `rerun`. Only the keeper can know that one was run again, so entries that
            others hand in must not be.
        before: the board as it was, where entries are handed in: what replaces one of these must be newer.
    """
    chosen = board.entry_folders() if folders is None else tuple(folders)
    others = BoardAnswers(board)
    found = [*(_verified(folder, others, rerun, before) for folder in chosen), *_strays(board)]
    return tuple(found)


def mark_rerun(found: CheckedEntry, rerun: Rerun) -> None:
    """Write into an entry that the keeper ran it again."""
    marked = found.entry.model_copy(update={"state": "rerun", "rerun": rerun})
    write_entry(found.folder, marked, found.checked.files)


def _verified(folder: Path, others: BoardAnswers, rerun: bool, before: BoardFolder | None) -> Verified:
    board = others.board
    name = (
        folder.relative_to(board.path).as_posix() if folder.is_relative_to(board.path) else folder.as_posix()
    )
    try:
        found = check_entry(folder, board, others)
        entry = found.entry
        if entry.state == "rerun" and not rerun:
            raise RecordError(f"{SUMMARY}: state: rerun, which the board's keeper alone can say")
        if before is not None:
            refuse_older(
                before.path / folder.relative_to(board.path), found.checked.files, found.checked.record
            )
    except (RecordError, TaskError, OSError) as error:
        return Verified(printable(name), printable(" ".join(str(error).split())))
    return Verified(name, None, entry.state)


def _strays(board: BoardFolder) -> Sequence[Verified]:
    """Name what lies among the entries and is none: it would be shown nowhere, and carried along."""
    entries, root = set(board.entry_folders()), board.path / ENTRIES
    models = {p for p in root.glob("*") if p.is_dir() and not p.is_symlink()}
    strays = [p for p in root.glob("*") if p not in models and p.name != ".gitkeep"]
    strays += [p for model in models for p in model.glob("*") if p not in entries]
    return [
        Verified(printable(p.relative_to(board.path).as_posix()), "no entry: remove it")
        for p in sorted(strays)
    ]


def _check_files(folder: Path) -> None:
    """Refuse anything beside an entry's files."""
    refuse_links(folder)
    known = {SUMMARY, *FILES}
    for path in sorted(folder.iterdir()):
        if path.name not in known:
            raise RecordError(
                f"{short(path.name)}: an entry holds {', '.join(sorted(known))} alone; remove it"
            )


def _check_place(folder: Path, submission: Submission, checked: Checked, others: BoardAnswers) -> None:
    """Refuse an entry that is not where it belongs, is one of another's too, or one of two models of one name."""
    board = others.board
    right = entry_folder(checked.record)
    if folder != board.path / ENTRIES / right:
        raise RecordError(f"{RECORD}: model.name, condition or task.name: this entry belongs into {right}")
    refuse_other_spelling(folder, board)
    refuse_two_models(folder, checked.record)
    refuse_copies(folder, checked.files, submission.samples, others)
