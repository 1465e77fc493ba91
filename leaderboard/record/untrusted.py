"""Handle what may come from anyone: read plain files alone, within limits, and show values on one safe line."""

from __future__ import annotations

import io
import stat
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from leaderboard.record.record import RecordError

_PART = 2**20  # read at a time: nothing is set aside for what may not come
_HEAD = bytes.fromhex("1f8b0800 00000000")  # magic number, deflate, no flags, no time


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

    It must be as `gzip.compress(…, mtime=0)` writes one: names, comments, further members or what follows the
    last one would be carried along unseen.

    Raises:
        RecordError: as `read_plain`, it is damaged, or holds anything beside its content.
    """
    packed = io.BytesIO(read_plain(path, limit))
    if not packed.getvalue().startswith(_HEAD):
        raise RecordError(f"{path}: must be a gzip file without name, comment or time")
    unpacking = zlib.decompressobj(wbits=31)
    try:
        content = _limited(_Unpacked(packed, unpacking), limit, path)
    except zlib.error as error:
        raise RecordError(f"{path}: cannot be unpacked ({error})") from error
    if not unpacking.eof:
        raise RecordError(f"{path}: cannot be unpacked (it is cut off)")
    if unpacking.unused_data or packed.read(1):
        raise RecordError(f"{path}: something follows its content")
    return content


@dataclass(frozen=True)
class _Unpacked:
    """What a gzip member holds, some of it at a time."""

    packed: io.BytesIO = field(repr=False)
    unpacking: Any = field(repr=False)  # zlib names no type for it

    def read(self, size: int, /) -> bytes:
        while not self.unpacking.eof:
            given = self.unpacking.unconsumed_tail or self.packed.read(_PART)
            found: bytes = self.unpacking.decompress(given, size)
            if found or not given:
                return found
        return b""


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


def short(value: object, letters: int = 80) -> str:
    """Return a value on one line, cut where it is long; a string is quoted."""
    quoted = isinstance(value, str)
    text = ascii(str(value)[: letters + 1]) if quoted else printable(str(value), letters + 1)
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def printable(text: str, letters: int = 500) -> str:
    """Return a text with every character that cannot be printed escaped, cut where it is long."""
    shown = "".join(c if c.isprintable() else _escaped(c) for c in text[: letters + 1])
    return shown if len(shown) <= letters else f"{shown[: letters - 1]}…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
