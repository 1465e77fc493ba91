"""Groups of images that must not be divided between splits: one patient, or one picture taken twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from harness.data.perceptual import near_duplicate_links

GroupedBy = Literal["patient_id", "patient_id and near-duplicates", "near-duplicates", "image"]


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
        thumbnails: uint8 of shape (n, 16, 16), see `harness.data.perceptual.thumbnail`.
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
