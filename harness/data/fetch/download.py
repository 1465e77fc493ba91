"""Download a published file into the cache, checked against its md5 before it gets its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.dataset import DataError
from harness.data.progress import Step
from tasks.sources import NpzSource

if TYPE_CHECKING:
    from harness.console import Advance

_CHUNK = 1 << 20  # bytes
LARGE = 200 * 1000**2  # bytes; larger files are downloaded only where the user agreed


def check_download(source: NpzSource, folder: Path, *, offline: bool, assume_yes: bool) -> str:
    """Return the address to download from, if that is possible and allowed.

    Raises:
        DataError: if it is not; the message says how to get the data otherwise.
    """
    place = f"put the file into a folder and name it with --data-dir, or put it into {folder}"
    if source.url is None or source.md5 is None:
        raise DataError(f"{source.file}: not found, and the task has no address with an md5; {place}")
    if offline:
        raise DataError(f"{source.file}: not found, and --offline forbids to get {source.url}; {place}")
    if not assume_yes and (source.size_bytes is None or source.size_bytes > LARGE):
        size = "of unknown size" if source.size_bytes is None else f"of {source.size_bytes / 1e6:.0f} MB"
        raise DataError(f"{source.file}: a download {size} from {source.url}; agree with --yes, or {place}")
    return source.url


def download_npz(source: NpzSource, folder: Path, step: Step, *, offline: bool, assume_yes: bool) -> Path:
    """Download the npz file of a task into `folder` and return its path.

    A file whose md5 is wrong is deleted, and never seen under its own name.

    Raises:
        DataError: if downloading is not possible, not allowed, failed, or gave another file.
    """
    url = check_download(source, folder, offline=offline, assume_yes=assume_yes)
    target = folder / source.file
    with step(f"downloading {target.name}", source.size_bytes or 0, "bytes") as advance:
        _retrieve(url, str(source.md5), target, _Bar(advance))
    return target


def _retrieve(url: str, md5: str, target: Path, bar: _Bar) -> None:
    import pooch

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            url,
            known_hash=f"md5:{md5}",
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK, timeout=60),
        )
    except OSError as error:  # those of requests among them
        raise DataError(f"{target.name}: download from {url} failed ({error})") from error
    except ValueError as error:  # pooch's word for a hash that differs
        found = "gave another file than the published one (its md5 differs)"
        raise DataError(f"{target.name}: {url} {found}; try again, or get the file by hand") from error


class _Bar:
    """What pooch calls while it downloads."""

    def __init__(self, advance: Advance) -> None:
        self.total = self._done = 0
        self._advance = advance

    def update(self, count: int) -> None:
        """Count a block, the last of which may be announced larger than it is."""
        new = min(self._done + count, self.total)
        self._advance(new - self._done)
        self._done = new

    def reset(self) -> None:
        """Pooch counts anew at the end, to show a full bar; what was counted stays counted."""

    def close(self) -> None:
        """Nothing to close."""
