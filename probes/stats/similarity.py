"""How alike two layers see the same images: a description that says nothing of what can be read from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

NEIGHBOURS = 10

_ROWS = 1024  # of distances held at a time


def linear_cka(first: Floats, second: Floats, *, debiased: bool = False) -> float:
    """Return the linear centred kernel alignment of two layers: 1 for the same geometry up to rotation.

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with the Gram matrices K = X X' and L = Y Y' (Kornblith
    et al. 2019, equation 4). It does not change under rotation, shift or common scaling of a layer. With
    few images and many features plain CKA is near 1 even for unrelated layers; `debiased` takes the
    unbiased estimator of HSIC (Song et al. 2012, equation 5), whose expectation is then 0, and which may
    fall below 0. NaN where a layer gives every image the same features.

    Args:
        first: (images, width) of one layer.
        second: (images, width) of the other, the same images; the widths may differ.
        debiased: take the unbiased estimator; it needs 4 images or more.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or there are too few images.
    """
    x, y = _checked(first, second, least=4 if debiased else 2)
    hsic = _unbiased if debiased else _inner
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    own = hsic(x, x) * hsic(y, y)
    return float(hsic(x, y) / np.sqrt(own)) if own > 0 else float("nan")


def neighbour_overlap(first: Floats, second: Floats, *, neighbours: int = NEIGHBOURS) -> float:
    """Return the mean share of an image's nearest neighbours that two layers have in common.

    Neighbours are the images at the smallest Euclidean distance, the image itself left out, equal distances
    in the order of the images. Unrelated layers share neighbours / (images - 1) on average.

    Args:
        first: (images, width) of one layer.
        second: (images, width) of the other, the same images; the widths may differ.
        neighbours: how many are compared.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or there are not more images than neighbours.
    """
    if neighbours < 1:
        raise ValueError(f"{neighbours} neighbours: expected at least 1")
    x, y = _checked(first, second, least=neighbours + 1)
    nearest_x, nearest_y = _nearest(x, neighbours), _nearest(y, neighbours)
    return float((nearest_x[:, :, None] == nearest_y[:, None, :]).any(axis=2).mean())


def _inner(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return tr(K L) for centred features, by the cheaper of two ways: it equals |X' Y|^2."""
    if x.shape[1] * y.shape[1] <= len(x) * (x.shape[1] + y.shape[1]):
        return float(((x.T @ y) ** 2).sum())
    return float(((x @ x.T) * (y @ y.T)).sum())


def _unbiased(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return n (n - 3) times the unbiased HSIC; Gram matrices enter without their diagonals."""
    n = len(x)
    diagonal_x, diagonal_y = (x**2).sum(axis=1), (y**2).sum(axis=1)
    rows_x, rows_y = x @ x.sum(axis=0) - diagonal_x, y @ y.sum(axis=0) - diagonal_y
    trace = _inner(x, y) - diagonal_x @ diagonal_y
    product = rows_x.sum() * rows_y.sum() / ((n - 1) * (n - 2))
    return float(trace + product - 2 / (n - 2) * (rows_x @ rows_y))


def _nearest(x: NDArray[np.float64], neighbours: int) -> NDArray[np.integer]:
    """Return the nearest other images of every image, (images, neighbours)."""
    centred = x - x.mean(axis=0)  # keeps distances and their digits
    squares = (centred**2).sum(axis=1)
    found = []
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        distances = squares[rows, None] + squares - 2 * centred[rows] @ centred.T
        own = np.arange(len(distances))
        distances[own, own + start] = np.inf
        found.append(np.argsort(distances, axis=1, kind="stable")[:, :neighbours])
    return np.concatenate(found)


def _checked(first: Floats, second: Floats, *, least: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(f"similarity of {x.shape} and {y.shape}: expected (images, width), the same images")
    if len(x) < least:
        raise ValueError(f"similarity of {len(x)} images: at least {least} are needed")
    for name, features in (("first", x), ("second", y)):
        if not np.isfinite(features).all():
            raise ValueError(f"similarity: a value of the {name} layer is not finite")
    return x, y
