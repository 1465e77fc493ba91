"""Erase a concept from features by an affine map, so that what depends on it can be seen to change.

LEACE (Belrose et al. 2023, "LEACE: Perfect linear concept erasure in closed form", theorem 4.3): of all
affine maps after which no linear classifier can tell the classes better than their shares do, the one that
moves the features least in mean square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

_TOLERANCE = 1e-8  # of the largest value, below which a variance or a singular value counts as 0


@dataclass(frozen=True, eq=False)
class Eraser:
    """The affine map x -> x - P (x - mean), with the projection P = removed read'.

    `mean` has the shape (width,), `read` and `removed` (width, rank): `read` holds the directions in which
    the concept is looked for, `removed` those that are taken out. P is idempotent and in general oblique.
    Being affine, the map may be fitted on means over tokens and applied to each token: the mean of the
    erased tokens is the erased mean.
    """

    mean: NDArray[np.float64] = field(repr=False)
    removed: NDArray[np.float64] = field(repr=False)
    read: NDArray[np.float64] = field(repr=False)

    @property
    def rank(self) -> int:
        """How many dimensions are taken out."""
        return self.removed.shape[1]

    @property
    def projection(self) -> NDArray[np.float64]:
        """The matrix P (width, width)."""
        return self.removed @ self.read.T

    def apply(self, features: Floats) -> NDArray[np.float64]:
        """Return the features (..., width) without the concept, in double precision."""
        return features - ((features - self.mean) @ self.read) @ self.removed.T


def class_eraser(
    features: Floats, labels: Sequence[int] | Integers, *, shrinkage: float | None = 0.0
) -> Eraser:
    """Return the LEACE eraser of the classes: afterwards their means are equal on these images.

    With W the inverse square root of the features' covariance and Q the orthogonal projection on the
    columns of W cov(x, class), P is W^+ Q W. Its rank is at most the number of classes less one.

    With fewer images than a few times the width the sample covariance is a poor guide, and the map moves
    other images more than it need. `shrinkage` replaces the covariance S by (1 - s) S + s tr(S)/width I,
    s from 0 to 1; None takes Ledoit and Wolf's (2004) estimate. The classes' means are equal on the
    training images whatever s is; only the least change is then meant in the shrunk covariance.

    Args:
        features: (images, width).
        labels: (images,), any integers.
        shrinkage: s, or None for its estimate.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or `shrinkage` is out of range.
    """
    x = _checked(features)
    return _class_eraser(_whiten(x, shrinkage), x, labels)


def random_erasers(
    features: Floats, rank: int, *, count: int = 20, seed: int = 0, shrinkage: float | None = 0.0
) -> tuple[Eraser, ...]:
    """Return erasers of random subspaces, the null for an effect of `class_eraser`.

    The subspaces are uniform in whitened coordinates. That is the large-sample distribution of what LEACE
    removes for a concept that the features know nothing about, such as permuted labels, whose whitened
    covariance with the features is isotropic.

    Args:
        features: (images, width), those of `class_eraser`.
        rank: of every eraser; `class_eraser(...).rank` for a fair comparison.
        count: number of erasers.
        seed: of the subspaces.
        shrinkage: as in `class_eraser`.

    Raises:
        ValueError: the features do not vary in `rank` dimensions, or see `class_eraser`.
    """
    return _random_erasers(_whiten(_checked(features), shrinkage), rank, count, seed)


def erasers_with_null(
    features: Floats,
    labels: Sequence[int] | Integers,
    *,
    count: int = 20,
    seed: int = 0,
    shrinkage: float | None = 0.0,
) -> tuple[Eraser, tuple[Eraser, ...]]:
    """Return `class_eraser` and `random_erasers` of its rank; the features are whitened once for both.

    Raises:
        ValueError: see `class_eraser`.
    """
    x = _checked(features)
    whitening = _whiten(x, shrinkage)
    eraser = _class_eraser(whitening, x, labels)
    return eraser, _random_erasers(whitening, eraser.rank, count, seed)


@dataclass(frozen=True, eq=False)
class _Whitening:
    """`forward` (dimensions, width) makes centred features white; `back` (width, dimensions) undoes it."""

    mean: NDArray[np.float64]
    forward: NDArray[np.float64]
    back: NDArray[np.float64]

    def eraser(self, basis: NDArray[np.float64]) -> Eraser:
        """Return the eraser of the span of orthonormal columns (dimensions, rank) in white coordinates."""
        return Eraser(self.mean, self.back @ basis, self.forward.T @ basis)


def _class_eraser(whitening: _Whitening, x: NDArray[np.float64], labels: Sequence[int] | Integers) -> Eraser:
    classes, index = np.unique(np.asarray(labels), return_inverse=True)
    if index.shape != (len(x),):
        raise ValueError(f"erasure: {index.shape} labels for {len(x)} images; expected one each")
    # The columns of cov(x, class): share of the class times its mean, the overall mean taken off.
    shares = np.bincount(index) / len(x)
    sums = np.zeros((len(classes), x.shape[1]))
    np.add.at(sums, index, x - whitening.mean)
    covariance = (sums / len(x)).T
    left, values, _ = np.linalg.svd(whitening.forward @ covariance, full_matrices=False)
    # Whitened, a concept that explains everything has singular values of about the root of its shares.
    kept = values > _TOLERANCE * np.sqrt(shares.max())
    return whitening.eraser(left[:, kept])


def _random_erasers(whitening: _Whitening, rank: int, count: int, seed: int) -> tuple[Eraser, ...]:
    available = len(whitening.forward)
    if not 0 <= rank <= available or count < 1:
        raise ValueError(
            f"{count} random erasures of rank {rank}: the features vary in {available} dimensions"
        )
    rng = np.random.default_rng(seed)
    draws = [np.linalg.qr(rng.standard_normal((available, rank)))[0] for _ in range(count)]
    return tuple(whitening.eraser(basis) for basis in draws)


def _whiten(x: NDArray[np.float64], shrinkage: float | None) -> _Whitening:
    mean = x.mean(axis=0)
    centred = x - mean
    amount = _ledoit_wolf(x) if shrinkage is None else shrinkage
    if not 0 <= amount <= 1:
        raise ValueError(f"erasure: shrinkage {amount}; expected 0 to 1, or None")
    covariance = (1 - amount) * (centred.T @ centred) / len(x)
    covariance[np.diag_indices_from(covariance)] += amount * np.mean(centred**2)
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _TOLERANCE * max(values[-1], np.finfo(float).tiny)
    roots, vectors = np.sqrt(values[kept]), vectors[:, kept]
    return _Whitening(mean, (vectors / roots).T, vectors * roots)


def _ledoit_wolf(x: NDArray[np.float64]) -> float:
    from sklearn.covariance import ledoit_wolf_shrinkage

    return float(ledoit_wolf_shrinkage(x))


def _checked(features: Floats) -> NDArray[np.float64]:
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"erasure: features of shape {x.shape}; expected (images, width), none of them 0")
    if not np.isfinite(x).all():
        raise ValueError("erasure: a feature is not finite; was the model run in float16?")
    return x
