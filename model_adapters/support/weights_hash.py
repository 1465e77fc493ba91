"""A hash over weights in memory, by which a stored copy is checked and an answer's weights are told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """Return `sha256:` and 16 hexadecimal digits over names, types, shapes and values of weights."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return f"sha256:{digest.hexdigest()[:16]}"
