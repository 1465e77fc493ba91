"""Choose a fixed, stratified part of a split, the same on every machine and in every order of the images."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction


def select(ids: Sequence[str], labels: Sequence[int], size: int, seed: int) -> tuple[int, ...]:
    """Return the sorted indices of `size` of the images.

    Every class gets its proportional share, rounded by the largest remainder (Hamilton's method; equal
    remainders go to the lower label first), so no class is off its exact share by a whole image. Within a
    class the images whose SHA-256 of "seed:id" is smallest are taken: the choice depends on the ids, the
    labels, the size and the seed alone, and a class's larger share contains its smaller one.

    Args:
        ids: one id an image, all different.
        labels: one class an image.
        size: number of images to choose, 1 to len(ids).
        seed: of the choice.

    Raises:
        ValueError: if an id occurs twice, the lengths differ, or `size` is out of range.
    """
    if len(ids) != len(labels):
        raise ValueError(f"subset: {len(ids)} ids for {len(labels)} labels")
    if len(set(ids)) != len(ids):
        raise ValueError("subset: an id occurs twice")
    if not 1 <= size <= len(ids):
        raise ValueError(f"subset: {size} images wanted of {len(ids)}")
    members: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    shares = allocate({label: len(indices) for label, indices in members.items()}, size)
    chosen: list[int] = []
    for label, indices in members.items():
        indices.sort(key=lambda index: hashlib.sha256(f"{seed}:{ids[index]}".encode()).digest())
        chosen.extend(indices[: shares[label]])
    return tuple(sorted(chosen))


def allocate(counts: Mapping[int, int], size: int) -> dict[int, int]:
    """Share `size` among classes in proportion to their `counts`, by the largest remainder."""
    total = sum(counts.values())
    exact = {label: Fraction(size * count, total) for label, count in counts.items()}
    shares = {label: int(share) for label, share in exact.items()}
    left = size - sum(shares.values())
    by_remainder = sorted(counts, key=lambda label: (shares[label] - exact[label], label))
    for label in by_remainder[:left]:
        shares[label] += 1
    return shares
