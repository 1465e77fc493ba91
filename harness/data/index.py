"""An index of decoded images: pixel hash, thumbnail and file hash of each, kept in the cache.

Decoding thousands of images at each start is slow; an entry is used again while path, size, time of
change and the version of the decoder are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.data.dataset import DataError
from harness.data.decode import DECODE_VERSION, decode_bytes, pixel_hash, to_rgb
from harness.data.groups import THUMBNAIL, thumbnail
from harness.data.listing import ListedImage, Listing
from harness.data.progress import Step
from tasks.files import locked, read_kept, replacing, warn_unkept

_THREADS = 4  # Pillow decodes outside Python's lock

Stamp = tuple[int, int]  # size in bytes, time of change in nanoseconds


@dataclass(frozen=True)
class Entry:
    """What is known of one image. `sha256` is of the file's bytes, empty where it is not a file."""

    stamp: Stamp
    pixel_hash: str
    sha256: str
    thumbnail: np.ndarray  # uint8 (16, 16)


def index(listing: Listing, cache: Path, step: Step) -> list[Entry]:
    """Return an entry for every image of the listing, in its order; decode those not known yet.

    Raises:
        DataError: if an image cannot be decoded.
    """
    if listing.location is None:
        return [_entry(listing, image, (0, 0)) for image in listing.images]
    path = cache / "index" / f"{_key(listing.location)}.npz"
    stamps = _stamps(listing)
    known = read_kept(path, _read) or {}
    wanted = list(zip(listing.images, stamps, strict=True))
    missing = [(i, s) for i, s in wanted if i.id not in known or known[i.id].stamp != s]
    if missing:
        with step("reading images", len(missing)) as advance, ThreadPoolExecutor(_THREADS) as pool:
            entries = pool.map(lambda pair: _entry(listing, *pair), missing)
            for (image, _), entry in zip(missing, entries, strict=True):
                known[image.id] = entry
                advance()
        try:
            with locked(path.with_name(f"{path.name}.lock")), replacing(path, exclusive=True) as part:
                _write(part, {image.id: known[image.id] for image in listing.images})
        except OSError as error:
            warn_unkept(path, error)
    return [known[image.id] for image in listing.images]


def _entry(listing: Listing, image: ListedImage, stamp: Stamp) -> Entry:
    sha256 = ""
    if image.file is None:
        picture = listing.open(image)
    else:
        try:
            data = image.file.read_bytes()
        except OSError as error:
            raise DataError(f"{image.file}: cannot be read: {error.strerror or error}") from error
        sha256 = hashlib.sha256(data).hexdigest()
        picture = decode_bytes(data, str(image.file))
    return Entry(stamp, pixel_hash(picture), sha256, thumbnail(to_rgb(picture)))


def _key(location: Path) -> str:
    return hashlib.sha256(f"{DECODE_VERSION} {location.resolve()}".encode()).hexdigest()[:32]


def _stamps(listing: Listing) -> list[Stamp]:
    stamps: dict[Path, Stamp] = {}
    for image in listing.images:
        path = image.file or listing.location
        assert path is not None
        if path not in stamps:
            try:
                status = path.stat()
            except OSError as error:
                raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
            stamps[path] = (status.st_size, status.st_mtime_ns)
    return [stamps[image.file or listing.location] for image in listing.images]  # type: ignore[index]


def _read(path: Path) -> dict[str, Entry]:
    with np.load(path, allow_pickle=False) as kept:
        columns = [kept[name] for name in ("id", "stamp", "pixel_hash", "sha256", "thumbnail")]
    ids, stamps, hashes, files, thumbnails = columns
    shapes_agree = len({len(column) for column in columns}) == 1
    if not shapes_agree or thumbnails.shape[1:] != (THUMBNAIL, THUMBNAIL) or stamps.shape[1:] != (2,):
        raise ValueError("arrays of another form")
    rows = zip(ids.tolist(), stamps.tolist(), hashes.tolist(), files.tolist(), thumbnails, strict=True)
    return {i: Entry((s[0], s[1]), h, f, t) for i, s, h, f, t in rows}


def _write(path: Path, entries: dict[str, Entry]) -> None:
    values: Sequence[Entry] = list(entries.values())
    with path.open("wb") as stream:
        np.savez(
            stream,
            id=np.array(list(entries), dtype=np.str_),
            stamp=np.array([e.stamp for e in values], dtype=np.int64),
            pixel_hash=np.array([e.pixel_hash for e in values], dtype=np.str_),
            sha256=np.array([e.sha256 for e in values], dtype=np.str_),
            thumbnail=np.stack([e.thumbnail for e in values]),
        )
