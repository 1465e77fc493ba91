"""Put a result on a board."""

from __future__ import annotations

from pathlib import Path

from leaderboard.board.entry import ENTRIES, RECORD, Entry, EntryFiles, entry_folder, write_entry
from leaderboard.board.folder import BoardFolder
from leaderboard.record.record import RecordError, dump_record
from leaderboard.verify.entry_checks import (
    BoardAnswers,
    refuse_copies,
    refuse_links,
    refuse_older,
    refuse_other_spelling,
)
from leaderboard.verify.submission import check_submission, read_submission


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
    submission = read_submission(folder)
    checked = check_submission(submission, board)
    target = board.path / ENTRIES / entry_folder(checked.record)
    refuse_links(target)
    refuse_other_spelling(target, board)
    files = EntryFiles({**checked.files.content, RECORD: dump_record(checked.record).encode()})
    refuse_older(target, files, checked.record)
    if target.exists() and not replace:
        raise RecordError(
            f"record.json: model.name: the board has an older result of this model and task ({target.parent.name}/"
            f"{target.name}); --replace puts this one in its place"
        )
    refuse_copies(target, files, submission.samples, BoardAnswers(board))
    entry = Entry(
        state="recomputed",
        official_data=checked.official,
        declared=checked.declared,
        files=files.hashes(),
    )
    write_entry(target, entry, files)
    return target
