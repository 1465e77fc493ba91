"""Put a result on a board."""

from __future__ import annotations

from pathlib import Path

from leaderboard.board_folder import BoardFolder
from leaderboard.entry import (
    ENTRIES,
    RECORD,
    Entry,
    EntryFiles,
    entry_folder,
    read_entry,
    write_entry,
)
from leaderboard.entry_rules import refuse_copies, refuse_links, refuse_other_spelling
from leaderboard.plain_file import read_plain
from leaderboard.record import Record, RecordError, dump_record
from leaderboard.record_rules import finished
from leaderboard.submission import LIMITS, check_submission, parse_record, read_submission


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
    target = board.path / ENTRIES / entry_folder(checked.record)
    refuse_links(target)
    refuse_other_spelling(target, board)
    files = EntryFiles({**checked.files.content, RECORD: dump_record(checked.record).encode()})
    _refuse_known(target, files, checked.record, replace)
    refuse_copies(target, files, board)
    entry = Entry(
        state="recomputed",
        official_data=checked.official,
        declared=checked.declared,
        files=files.hashes(),
    )
    write_entry(target, entry, files)
    return target


def _refuse_known(target: Path, files: EntryFiles, record: Record, replace: bool) -> None:
    if not target.exists():
        return
    name = f"{target.parent.name}/{target.name}"
    before = read_entry(target)
    lines = {key: value for key, value in files.hashes().items() if key != RECORD}
    if lines == {key: value for key, value in before.files.items() if key != RECORD}:
        raise RecordError(f"samples.jsonl: the very same answers are on the board already, as {name}")
    there = parse_record(read_plain(target / RECORD, LIMITS.record), target / RECORD)
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
