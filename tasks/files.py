"""How every room keeps files: in one cache folder, under one lock, written whole, known by the hash of JSON.

It stands in the lowest room, so that all others can use it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

Kept = TypeVar("Kept")

_DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error)
_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return `HARNESS_CACHE_DIR`, else the user's cache folder; it need not exist yet."""
    from platformdirs import user_cache_dir

    chosen = os.environ.get("HARNESS_CACHE_DIR")
    return Path(chosen).expanduser() if chosen else Path(user_cache_dir("mllm-harness"))


def json_hash(value: object, *, ascii_only: bool = True) -> str:
    """Return the sha256, in hexadecimal digits, of a value as JSON, independent of the order of its keys.

    `ascii_only` escapes other letters before they are hashed; both forms name results that are filed.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=ascii_only)
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all. A link's target is written; into a device or pipe, what comes comes.

    Raises:
        OSError: it cannot be written; what was there before is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    with replacing(path) as part:
        part.write_bytes(data)


@contextmanager
def replacing(path: Path, *, exclusive: bool = False) -> Iterator[Path]:
    """Give the place of a new file, which takes the place of `path` once it is whole and on the disk.

    Folders above are made. What fails or is killed leaves `path` as it was. With `exclusive` nobody else can be
    writing `path`, as under a lock: what a killed writer left is then written over, and so never piles up.

    Raises:
        OSError: it cannot be written.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = "" if exclusive else f".{secrets.token_hex(4)}"
    part = path.with_name(f".{path.name}{mark}.part")
    try:
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def locked(lock: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file, which is made where it is missing, with the folders above it.

    The file stays, since who removes it lets two others lock two files of one name. It goes with the folders that
    were made for it where nothing else came into them.

    Raises:
        BlockingIOError: another process holds it, and `wait` is False.
        OSError: it cannot be made.
    """
    from filelock import FileLock, Timeout

    made = [folder for folder in lock.parents if not folder.exists()]
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock, timeout=-1 if wait else 0)
    try:
        held.acquire()
    except Timeout:
        raise BlockingIOError(f"{lock}: is held by another process") from None
    try:
        yield
    finally:
        if made and not any(path.name != lock.name for path in made[0].iterdir()):
            with suppress(OSError):  # another one may put something there just now
                lock.unlink()
                for folder in made:
                    folder.rmdir()
        held.release()


@contextmanager
def alone(folder: Path, work: str, failure: type[Exception], *, lock: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that two processes do not work in it at once; `work` says at what.

    Raises:
        failure: another one does, or the folder cannot be written.
    """
    with ExitStack() as held:
        try:
            held.enter_context(locked(lock, wait=False))
        except BlockingIOError:
            raise failure(
                f"{folder}: another {work} is writing here; wait for it, or choose another folder"
            ) from None
        except OSError as error:
            raise failure(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
        yield


def kept_or_made(
    path: Path,
    *,
    read: Callable[[Path], Kept],
    make: Callable[[], Kept],
    write: Callable[[Kept, Path], object],
) -> Kept:
    """Return what a file of the cache holds, else make it and keep it; two processes at once make it once.

    What `read` cannot read is made anew. A cache that cannot be written costs the next run its time, no more.
    """
    with ExitStack() as held:
        try:
            held.enter_context(locked(path.with_name(f"{path.name}.lock")))
        except OSError as error:
            warn_unkept(path, error)
            return make()
        found = read_kept(path, read)
        if found is None:
            found = make()
            try:
                with replacing(path, exclusive=True) as part:
                    write(found, part)
            except OSError as error:
                warn_unkept(path, error)
        return found


def read_kept(path: Path, read: Callable[[Path], Kept]) -> Kept | None:
    """Return what a file of the cache holds; None where there is none, or, with a warning, where it is damaged."""
    if not path.is_file():
        return None
    try:
        return read(path)
    except _DAMAGED as error:
        _log.warning("%s: is damaged (%s) and made anew", path, error)
        return None


def warn_unkept(path: Path, error: OSError) -> None:
    """Say that a file cannot be kept in the cache, and the way out."""
    _log.warning("%s: cannot be kept (%s); set HARNESS_CACHE_DIR", path, error)
