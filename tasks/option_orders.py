"""In which order options are lettered: it depends on the task's seed and the image alone."""

from __future__ import annotations

import hashlib
import itertools
import math

MAX_ALL_ORDERS = 3  # up to this many classes every option order is asked
SEEDED_ORDERS = 4  # above it, this many per image

Order = tuple[int, ...]  # the class at each position


def option_orders(classes: int, seed: int, sample_id: str) -> tuple[Order, ...]:
    """Return every option order (up to 3 classes) or a seeded set of 4.

    Above 3 classes the orders of one image are cyclic shifts, evenly spaced, of one shuffle: so no class
    stands at one letter twice.
    """
    if classes <= MAX_ALL_ORDERS:
        return tuple(itertools.permutations(range(classes)))
    shuffled = shuffled_order(classes, f"{seed}:{sample_id}")
    shifts = [math.floor(k * classes / SEEDED_ORDERS) for k in range(SEEDED_ORDERS)]
    return tuple(shuffled[shift:] + shuffled[:shift] for shift in shifts)


def one_option_order(classes: int, seed: int, sample_id: str) -> Order:
    """Return one order drawn for an image, every order as likely as any other.

    So over the images the letter of the right option says nothing about its class.
    """
    return shuffled_order(classes, f"{seed}:{sample_id}:one order")


def shuffled_order(count: int, key: str) -> Order:
    """Return a permutation of range(count) that depends on `key` alone, on every machine and version."""
    return tuple(sorted(range(count), key=lambda i: hashlib.sha256(f"{key}:{i}".encode()).digest()))
