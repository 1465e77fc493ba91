"""An entry of a board: one folder a model and task, with the record, its lines, and what was checked."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from leaderboard.record.base import Part
from leaderboard.record.one_line import printable, short
from leaderboard.record.plain_file import read_plain
from leaderboard.record.record import Record, RecordError

State = Literal["recomputed", "rerun"]

ENTRIES = "entries"  # the folder of a board that holds them
SUMMARY = "entry.json"
RECORD, SAMPLES, PROBES = "record.json", "samples.jsonl.gz", "probes.jsonl.gz"
FILES = (RECORD, SAMPLES, PROBES)

# What a folder's name is made of, on every file system.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*", re.ASCII)
_LONGEST_NAME = 150
# Names of devices, which Windows takes no folder by, with or without an ending.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_SUMMARY_BYTES = 2**20


_Word = Annotated[str, Field(max_length=200)]
_Share = Annotated[float, Field(ge=0, le=1)]


class Rerun(Part):
    """What came out when the keeper ran the entry again.

    `agreement` is the share of test images with the same answer, `accuracy` that of the second run,
    `p` of the exact or paired test for a difference between the two accuracies, `largest_probe_difference`
    that between the accuracies of a layer's linear probe in the two runs, null where no layer was watched.
    """

    harness_version: _Word
    engine: _Word
    device: _Word
    agreement: _Share
    accuracy: _Share
    p: _Share
    largest_probe_difference: _Share | None


class Entry(Part):
    """What was checked of an entry, and by which files.

    `state` is "rerun" once the keeper ran the model again and got the same answers. `declared` names the
    parts of the record that could not be recomputed from its lines.
    """

    schema_version: Literal[1] = 1
    state: State
    official_data: bool
    declared: tuple[_Word, ...]
    files: dict[_Word, _Word]  # sha256 of each file's content, of those that end in .gz before compression
    rerun: Rerun | None = None


@dataclass(frozen=True)
class EntryFiles:
    """The content of an entry's files, by name, uncompressed."""

    content: Mapping[str, bytes] = field(repr=False)

    def hashes(self) -> dict[str, str]:
        """Return the sha256 of each."""
        return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(self.content.items())}


def check_name(name: str) -> None:
    """Refuse a model's name that cannot stand for a folder everywhere.

    Raises:
        RecordError: naming the field.
    """
    if len(name) > _LONGEST_NAME:
        raise RecordError(
            f"record.json: model.name: {len(name)} letters; at most {_LONGEST_NAME} are allowed"
        )
    parts = name.split("/")
    wrong = _NAME.fullmatch(name) is None or ".." in name or "--" in name
    if wrong or any(part.endswith((".", "-")) or _DEVICE.fullmatch(part) for part in parts):
        raise RecordError(
            f"record.json: model.name: {short(name)}; it may have letters, digits, '.', '_' and single '-' within "
            "parts divided by '/', none of which is a device's name"
        )


def entry_folder(record: Record) -> str:
    """Return where a record's entry lies below the entries' folder, as a result folder is named.

    Raises:
        RecordError: the model's name cannot stand for a folder.
    """
    check_name(record.model.name)
    return f"{record.full_name.replace('/', '--')}/{record.task.name}"


def read_entry(folder: Path) -> Entry:
    """Read what was checked of an entry.

    Raises:
        RecordError: the file is missing or breaks its schema.
    """
    path = folder / SUMMARY
    try:
        return Entry.model_validate_json(read_plain(path, _SUMMARY_BYTES), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = printable(".".join(map(str, first["loc"])), 100) or "the file"
        raise RecordError(f"{path}: {where}: {printable(first['msg'], 200)}") from error


def dump_entry(entry: Entry) -> str:
    """Return the entry as JSON text."""
    return entry.model_dump_json(indent=2) + "\n"


def write_entry(folder: Path, entry: Entry, files: EntryFiles) -> None:
    """Write an entry's folder whole: it is there with all its files or as it was before."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        os.chmod(made, 0o755)  # mkdtemp lets nobody else read
        for name, content in files.content.items():
            (made / name).write_bytes(_compressed(content) if name.endswith(".gz") else content)
        (made / SUMMARY).write_text(dump_entry(entry), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)  # there only where something went wrong


def _compressed(content: bytes) -> bytes:
    """Compress; the same content gives the same bytes at any time."""
    return gzip.compress(content, compresslevel=9, mtime=0)
