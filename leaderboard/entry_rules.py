"""What an entry may not be beside others of its board: a link, another spelling of one, a copy of one."""

from __future__ import annotations

from pathlib import Path

from leaderboard.board_folder import BoardFolder
from leaderboard.entry import ENTRIES, SAMPLES, EntryFiles, read_entry
from leaderboard.one_line import short
from leaderboard.record import RecordError


def refuse_links(folder: Path) -> None:
    """Refuse an entry's folder, or its model's, that is a link: it may lead out of the board."""
    for place in (folder, folder.parent):
        if place.is_symlink():
            raise RecordError(f"{ENTRIES}/{short(place.name)}: must be a plain folder, no link; remove it")


def refuse_other_spelling(target: Path, board: BoardFolder) -> None:
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


def refuse_copies(target: Path, files: EntryFiles, board: BoardFolder) -> None:
    """Two models never give the same scores to the last digit on every image."""
    digest = files.hashes()[SAMPLES]
    for other in board.entry_folders():
        if other != target and _answers_of(other) == digest:
            raise RecordError(
                f"samples.jsonl: the very same answers are on the board already, as "
                f"{other.parent.name}/{other.name}"
            )


def _answers_of(folder: Path) -> str | None:
    """Return the hash of an entry's answers; None where its entry.json is wrong, as `verify` says of that entry."""
    try:
        return read_entry(folder).files.get(SAMPLES)
    except RecordError:
        return None
