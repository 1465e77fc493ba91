"""Groups of images that must not be divided between splits: one patient, or one picture taken twice.

Near-duplicates are images that show the same thing, re-saved, resized or slightly changed. Every image is
reduced to a grey thumbnail of 16 x 16. Two images are near-duplicates if the gradients of their
thumbnails (differences of neighbouring pixels, along rows and columns) correlate at 0.9 or more.
Gradients, because brightness and the coarse layout that all X-rays share drop out of them. Candidates
come from locality-sensitive hashing (Indyk and Motwani 1998; the bits are a difference hash): 112 signs
of differences between neighbouring cells of an 8 x 8 grid are cut into bands of 16, and images that agree
in one band of 14 are compared. So the work grows with the number of similar images, not with all pairs.

Nearly uniform images (root mean square gradient below 2 grey levels, such as empty slide background)
hold only noise after reduction and are never called near-duplicates; pixel-identical ones are found by
their hashes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
from PIL import Image

GroupedBy = Literal["patient_id", "patient_id and near-duplicates", "near-duplicates", "image"]

THUMBNAIL = 16  # pixels a side
CORRELATION = 0.9
FLAT = 2.0  # grey levels, root mean square gradient

_CELLS = 8
_BITS = 2 * _CELLS * (_CELLS - 1)
_BAND = 16
_STRIDES = (45, 27)  # orders of the bits, coprime to their number, so that a band holds distant places
_BUCKET = 1024  # a larger bucket is divided by a further band


def group(
    patients: Sequence[str | None], pixel_hashes: Sequence[str], thumbnails: np.ndarray
) -> tuple[tuple[str, ...], GroupedBy]:
    """Return every image's group, and by what the images were grouped.

    Images of one patient are one group, whatever their classes. Unless the patient of every image is
    known, near-duplicates are one group too. Images with identical pixels are one group in any case.

    A group is named by the smallest pixel hash in it, so it does not depend on names or order.

    Args:
        patients: patient id of each image, or None.
        pixel_hashes: of each image, see `harness.data.decode.pixel_hash`.
        thumbnails: uint8 of shape (n, 16, 16), see `thumbnail`.
    """
    links = list(_equal(pixel_hashes)) + list(_equal(patients))
    known = sum(patient is not None for patient in patients)
    if known < len(patients):
        links += near_duplicate_links(thumbnails)
    by: GroupedBy = "patient_id and near-duplicates" if known else "near-duplicates"
    if known == len(patients):
        by = "patient_id"
    return _names(join(len(patients), links), pixel_hashes), by


def join(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """Return for each of `count` items the smallest item that it is linked to, directly or not."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for first, second in links:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return [root(item) for item in range(count)]


def _equal(keys: Sequence[str | None]) -> Iterable[tuple[int, int]]:
    """Yield a link from each item to the first one with the same key; None equals nothing."""
    first: dict[str, int] = {}
    for item, key in enumerate(keys):
        if key is not None:
            yield first.setdefault(key, item), item


def _names(roots: Sequence[int], pixel_hashes: Sequence[str]) -> tuple[str, ...]:
    members: dict[int, list[str]] = defaultdict(list)
    for item, root in enumerate(roots):
        members[root].append(pixel_hashes[item])
    names = {root: min(hashes)[:16] for root, hashes in members.items()}
    return tuple(names[root] for root in roots)


def thumbnail(image: Image.Image) -> np.ndarray:
    """Reduce an 8-bit RGB or grey picture to grey values, uint8 of shape (16, 16)."""
    size = (THUMBNAIL, THUMBNAIL)
    return np.asarray(image.convert("L").resize(size, Image.Resampling.BOX), dtype=np.uint8)


def near_duplicate_links(thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """Return links (i, j), i < j, sorted, each between two images of one set of near-duplicates.

    Images belong to one set if links connect them. Not every pair is a link: among many alike images
    enough are returned to connect them. A pair whose gradients correlate at just 0.9 is missed once in a
    while, since it may share no band; the closer two images are, the surer they are found.

    Args:
        thumbnails: uint8 of shape (n, 16, 16).
    """
    gradients = _gradients(thumbnails)
    energy = (gradients * gradients).sum(axis=1)
    telling = np.flatnonzero(energy >= FLAT**2 * gradients.shape[1])
    first, links = _same(thumbnails, telling)
    bands = _bands(thumbnails[first])
    for band in range(bands.shape[1]):
        for bucket in _buckets(bands, np.arange(len(first)), band):
            links.update(_matches(gradients, energy, np.sort(first[bucket])))
    return sorted(links)


def _same(thumbnails: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """Return the first of each set of members with the same thumbnail, and links of the others to it."""
    first: dict[bytes, int] = {}
    links: set[tuple[int, int]] = set()
    for member in members.tolist():
        earlier = first.setdefault(thumbnails[member].tobytes(), member)
        if earlier != member:
            links.add((earlier, member))
    return np.array(list(first.values()), dtype=np.int64), links


def _gradients(thumbnails: np.ndarray) -> np.ndarray:
    """Return all differences between neighbours, float64 of shape (n, 480) holding whole numbers."""
    grey = thumbnails.astype(np.float64)
    size = (len(grey), THUMBNAIL * (THUMBNAIL - 1))
    return np.concatenate([np.diff(grey, axis=2).reshape(size), np.diff(grey, axis=1).reshape(size)], axis=1)


def _bands(thumbnails: np.ndarray) -> np.ndarray:
    """Return the bands of every image's difference hash, int64 of shape (n, 14)."""
    n, step = len(thumbnails), THUMBNAIL // _CELLS
    grid = thumbnails.reshape(n, _CELLS, step, _CELLS, step).sum(axis=(2, 4), dtype=np.int64)
    across, down = np.diff(grid, axis=2) > 0, np.diff(grid, axis=1) > 0
    bits = np.concatenate([across.reshape(n, _BITS // 2), down.reshape(n, _BITS // 2)], axis=1)
    weights = 1 << np.arange(_BAND)
    orders = [(np.arange(_BITS) * stride) % _BITS for stride in _STRIDES]
    return np.concatenate([bits[:, o].reshape(n, _BITS // _BAND, _BAND) @ weights for o in orders], axis=1)


def _buckets(bands: np.ndarray, members: np.ndarray, band: int, depth: int = 1) -> Iterator[np.ndarray]:
    """Yield the sets of two or more members that agree in a band; large ones also in the next bands."""
    order = members[np.argsort(bands[members, band], kind="stable")]
    changes = np.flatnonzero(np.diff(bands[order, band])) + 1
    for part in np.split(order, changes):
        if len(part) > _BUCKET and depth < bands.shape[1]:
            yield from _buckets(bands, part, (band + 1) % bands.shape[1], depth + 1)
        elif len(part) > 1:
            yield part


def _matches(gradients: np.ndarray, energy: np.ndarray, bucket: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield links that connect the near-duplicates within a sorted bucket.

    The products are sums of whole numbers, exact in float64, so that every machine draws the line alike.
    """
    for start in range(0, len(bucket), _BUCKET):
        rows, columns = bucket[start : start + _BUCKET], bucket[start:]
        products = gradients[rows] @ gradients[columns].T
        limits = CORRELATION * np.sqrt(np.outer(energy[rows], energy[columns]))
        pairs = np.argwhere(np.triu(products >= limits, k=1))
        if len(pairs) > len(columns):
            pairs = _spanning(pairs, len(columns))
        for i, j in pairs:
            yield int(columns[i]), int(columns[j])


def _spanning(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return fewer pairs that connect the same of `count` items: each with the first of its set."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)
    linked = np.stack([first[component], np.arange(count)], axis=1)
    return linked[linked[:, 0] != linked[:, 1]]
