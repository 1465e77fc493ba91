"""Simulated encoders and connectors with the geometry of real ones, in which what was lost is known.

An image is a vector of 1,152 latent values whose variances fall as 1, 1/2, 1/3, …; two of them (of which a
probe on some hundred images reads about what it reads on real ones) hold the class, shifted by +-m. A token is
the image plus noise of twice its variance, and a locus's feature is the mean over tokens. A connector takes
every token to 4,096 dimensions and keeps everything, or all but the second of the class's dimensions. "flat 4"
adds as much nuisance in each of 2,944 further directions as the class's own have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.special import erf
from scipy.stats import norm

Floats = NDArray[np.float32]

WIDTH, WIDE = 1152, 4096
CLASSES = 2
LOSS = 0.20  # of A, when the second dimension of the class is removed
CEILING = 0.875  # A of the best possible reading
CLASS_AT = (100, 101)  # the class's dimensions
TOKENS, SAMPLED = 64, 8  # of an image; those of which pairs are kept
NON_LINEAR_TOKENS = 16  # of an image where every token must be computed
TOKEN_NOISE = 2.0  # variance of a token about its image, in units of the image's
MAPS = ("rotation", "nuisance .3", "nuisance 1", "flat 1", "flat 4", "condition 100", "gelu mlp")
_NUISANCE = {"nuisance .3": 0.3, "nuisance 1": 1.0, "flat 1": 1.0, "flat 4": 4.0}  # of the encoder's variance


def separation(level: float) -> float:
    """Return the distance of a class from the middle, in standard deviations, that gives this A."""
    return float(norm.ppf((1 + level) / 2))


KEPT = separation(CEILING - LOSS)
SHIFT = (KEPT, float(np.sqrt(separation(CEILING) ** 2 - KEPT**2)))


@dataclass(frozen=True, eq=False)
class Split:
    """One split's images: labels and class evidence (images, 2); features of both loci; token pairs."""

    labels: NDArray[np.int64]
    evidence: Floats
    vision: Floats  # (images, WIDTH)
    later: Floats  # (images, WIDE)
    vision_tokens: Floats  # (pairs, WIDTH), of training images alone
    later_tokens: Floats  # (pairs, WIDE)


def spectrum(dimensions: int) -> Floats:
    """Return standard deviations that fall as those of pictures do."""
    return ((1 + np.arange(dimensions)) ** -0.5).astype(np.float32)


def draw_splits(name: str, lossy: bool, sizes: dict[str, int], seed: int) -> dict[str, Split]:
    """Draw the splits of one world; images and tokens of a seed are the same under every linear map."""
    turn = _Turns(seed)
    return {
        split: _draw(name, lossy, count, [seed, place], turn, pairs=split == "train")
        for place, (split, count) in enumerate(sizes.items())
    }


class _Turns:
    """Random rotations: signs and order, then a cosine transform, which is orthonormal and fast."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 99])
        self._order = {width: rng.permutation(width) for width in (WIDTH, WIDE)}
        self._signs = {width: rng.choice([-1.0, 1.0], width).astype(np.float32) for width in (WIDTH, WIDE)}
        self.condition = np.geomspace(1, 0.01, WIDTH)[rng.permutation(WIDTH)].astype(np.float32)

    def __call__(self, rows: Floats) -> Floats:
        width = rows.shape[1]
        turned = (rows * self._signs[width])[:, self._order[width]]
        return np.asarray(dct(turned, norm="ortho", axis=1, overwrite_x=True), np.float32)


def _draw(name: str, lossy: bool, count: int, seed: list[int], turn: _Turns, *, pairs: bool) -> Split:
    rng = np.random.default_rng(seed)
    labels, image = _images(count, rng)
    evidence = image[:, CLASS_AT].copy()
    image *= spectrum(WIDTH)
    nuisance = np.random.default_rng([*seed, 1])
    beside = _beside(name)
    extra = (
        nuisance.standard_normal((count, WIDE - WIDTH), dtype=np.float32) * beside
        if beside is not None
        else None
    )
    tokens = NON_LINEAR_TOKENS if name == "gelu mlp" else TOKENS
    total_v, total_c = np.zeros((count, WIDTH), np.float32), np.zeros((count, WIDE), np.float32)
    kept_v, kept_c = [], []
    size = np.sqrt(TOKEN_NOISE) * spectrum(WIDTH)
    for weight, sampled in _rounds(tokens, linear=name != "gelu mlp"):
        # `weight` tokens at once stand for their sum: noise adds up, and a linear map of it too.
        latent = weight * image + np.float32(np.sqrt(weight)) * size * rng.standard_normal(
            image.shape, dtype=np.float32
        )
        noise = None
        if extra is not None and beside is not None:
            drawn = nuisance.standard_normal(extra.shape, dtype=np.float32)
            noise = weight * extra + np.float32(np.sqrt(weight * TOKEN_NOISE)) * beside * drawn
        c = _connector(name, latent, noise, lossy, turn)
        total_v += latent
        total_c += c
        if sampled and pairs:
            kept_v.append(latent)
            kept_c.append(c)
    return Split(
        labels,
        evidence,
        vision=turn(total_v / tokens),
        later=total_c / tokens,
        vision_tokens=turn(np.concatenate(kept_v)) if kept_v else np.zeros((0, WIDTH), np.float32),
        later_tokens=np.concatenate(kept_c) if kept_c else np.zeros((0, WIDE), np.float32),
    )


def draw_evidence(count: int, seed: Sequence[int]) -> tuple[NDArray[np.int64], Floats]:
    """Return labels (images,) and class evidence (images, 2) of a split, as `draw_splits` draws them."""
    labels, image = _images(count, np.random.default_rng(seed))
    return labels, image[:, CLASS_AT].copy()


def _images(count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
    labels = np.arange(count) % CLASSES
    image = rng.standard_normal((count, WIDTH), dtype=np.float32)
    side = (2.0 * labels - 1).astype(np.float32)
    for place, shift in zip(CLASS_AT, SHIFT, strict=True):
        image[:, place] += side * np.float32(shift)
    return labels, image


def _rounds(tokens: int, *, linear: bool) -> Iterator[tuple[int, bool]]:
    yield from [(1, True)] * SAMPLED
    yield from [(tokens - SAMPLED, False)] if linear else [(1, False)] * (tokens - SAMPLED)


def _beside(name: str) -> Floats | None:
    """Return the standard deviations of the nuisance that the connector adds in the other dimensions."""
    if name not in _NUISANCE:
        return None
    shape = np.ones(WIDE - WIDTH, np.float32) if name.startswith("flat") else spectrum(WIDE - WIDTH)
    share = _NUISANCE[name]
    return np.asarray(shape * np.sqrt(share * (spectrum(WIDTH) ** 2).sum() / (shape**2).sum()), np.float32)


def _connector(name: str, latent: Floats, noise: Floats | None, lossy: bool, turn: _Turns) -> Floats:
    wide = np.zeros((len(latent), WIDE), np.float32)
    wide[:, :WIDTH] = latent * turn.condition if name == "condition 100" else latent
    if lossy:
        wide[:, CLASS_AT[1]] = 0.0
    if noise is not None:
        wide[:, WIDTH:] = noise
    turned = turn(wide)
    if name != "gelu mlp":
        return turned
    turned *= np.float32(1 / np.sqrt((1 + TOKEN_NOISE) * (spectrum(WIDTH) ** 2).sum() / WIDE))
    return turn(0.5 * turned * (1 + erf(turned / np.float32(np.sqrt(2)))))
