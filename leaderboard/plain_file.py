"""Read files that may come from anyone: no link, nothing but a plain file, and no more than a limit."""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from pathlib import Path
from typing import Protocol

from leaderboard.record import RecordError

_PART = 2**20  # read at a time: nothing is set aside for what may not come


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_plain(path: Path, limit: int) -> bytes:
    """Read a file of at most `limit` bytes.

    Raises:
        RecordError: it is missing, a link or a folder, larger, or cannot be read.
    """
    _check_plain(path)
    try:
        with path.open("rb") as stream:
            return _limited(stream, limit, path)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error


def read_packed(path: Path, limit: int) -> bytes:
    """Read a gzip file that holds at most `limit` bytes; no more than these is ever unpacked.

    Raises:
        RecordError: as `read_plain`, or it is damaged.
    """
    _check_plain(path)
    try:
        with gzip.open(path, "rb") as stream:
            return _limited(stream, limit, path)
    except (OSError, EOFError, zlib.error) as error:
        raise RecordError(f"{path}: cannot be unpacked ({error})") from error


def _check_plain(path: Path) -> None:
    """Refuse links, which may lead out of the folder, and what is no file."""
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise RecordError(f"{path}: is missing or cannot be looked at ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        raise RecordError(f"{path}: must be a plain file, no link and no folder")


def _limited(stream: _Stream, limit: int, path: Path) -> bytes:
    content = io.BytesIO()
    while part := stream.read(_PART):
        if content.tell() + len(part) > limit:
            raise RecordError(f"{path}: larger than {limit // 2**20} MB, the most that is read")
        content.write(part)
    return content.getvalue()
