"""What a locus carries: a readout fitted on an earlier locus, taken along by the map between their tokens (torch).

A probe at a wide, mixed-up place reads less than is there, because it has one labelled vector an image. The
linear map that predicts the earlier tokens from the later ones has tens to hundreds of pairs an image and
needs no label: with C the later and V the earlier tokens, W a readout of V,

    B = (S_cc + lambda I)^-1 S_cv W

reads from the later locus what W read from the earlier one, as far as it is linearly there. Where something
was removed, B finds nothing of it. Later tokens count in units of their own standard deviations, so that
lambda = epsilon^2 is the noise floor of `probes.fit.noise_floor` and massive dimensions weigh as others do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probes.fit.linear import LinearProbes, fit_linear
from probes.fit.logistic_map import LogisticMap, fit_logistic_map, log_loss
from probes.fit.noise_floor import EPSILON

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
Kind = Literal["direct", "transfer", "refit"]

STRENGTHS: tuple[float, ...] = tuple(EPSILON**2 * 10.0**power for power in range(5))
FOLDS = 5

_BLOCK = 4096  # pairs that are turned to single precision at a time
_CONSTANT = 1e-6  # of the largest absolute value, as in probes.fit.scaling


@dataclass(frozen=True, eq=False)
class Readout:
    """Class logits that are linear in a locus's pooled features: `features @ weights + intercept`.

    `weights` (width, classes), `intercept` (classes,), float64, for features as they are captured.
    """

    weights: NDArray[np.float64] = field(repr=False)
    intercept: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, probes: LinearProbes, site: int = 0) -> Readout:
        """Take one site's probe, its standardisation folded into the weights."""
        scaling = probes.standardiser
        weights = probes.weights[site].astype(np.float64) / scaling.scale[site][:, None]
        return cls(weights, probes.intercept[site].astype(np.float64) - scaling.mean[site] @ weights)

    def logits(self, features: Floats) -> NDArray[np.float64]:
        """Return logits (images, classes) of features (images, width)."""
        return np.asarray(features @ self.weights + self.intercept, dtype=np.float64)

    def then(self, map_: LogisticMap) -> Readout:
        """Return the readout whose logits are the map's of these logits."""
        return Readout(self.weights @ map_.weights.T, self.intercept @ map_.weights.T + map_.intercept)


@dataclass(frozen=True, eq=False)
class TokenPairs:
    """Later and earlier tokens side by side: `later` (pairs, width), `earlier` (pairs, earlier width).

    A bounded, seeded sample of an image's tokens does (ten times the width in all); half precision does too.
    For places without pairs the images' pooled vectors take the tokens' part.
    """

    later: Floats = field(repr=False)
    earlier: Floats = field(repr=False)

    def __post_init__(self) -> None:
        if self.later.ndim != 2 or self.earlier.ndim != 2 or len(self.later) != len(self.earlier):
            raise ValueError(f"token pairs of shapes {self.later.shape} and {self.earlier.shape}")
        if len(self.later) < 2:
            raise ValueError(f"{len(self.later)} token pairs: a map needs at least 2")


@dataclass(frozen=True, eq=False)
class TokenMoments:
    """Means and covariances of `pairs` token pairs, float64, for tokens that are not kept.

    `later` (width, width) and `cross` (width, earlier width) are central second moments.
    """

    pairs: int
    later_mean: NDArray[np.float64] = field(repr=False)
    earlier_mean: NDArray[np.float64] = field(repr=False)
    later: NDArray[np.float64] = field(repr=False)
    cross: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Transfer:
    """Readouts of the later locus that stand in for those of the earlier one, in their order.

    `strength` is the lambda that validation chose; `errors` holds every lambda's mean squared difference of
    logits there, relative to their variance: 0 where all was found again, 1 where nothing was.
    """

    readouts: tuple[Readout, ...]
    strength: float
    errors: Mapping[float, float]


@dataclass(frozen=True, eq=False)
class Carried:
    """The best bound on what a locus holds. `refits` are the same readout fitted without one fold each.

    `source` names the earlier locus of a transfer, None for the direct probe; `losses` holds the validation
    log-loss of every candidate, by kind and source.
    """

    readout: Readout
    refits: tuple[Readout, ...]
    kind: Kind
    source: str | None
    losses: Mapping[tuple[Kind, str | None], float]


def token_moments(blocks: Iterable[tuple[Floats, Floats]], *, device: str = "cpu") -> TokenMoments:
    """Stream token pairs, each block (pairs, width) and (pairs, earlier width), into their moments.

    Sums are shifted by the first block's means, so that a large mean costs no digits, and kept in double
    precision.

    Raises:
        ValueError: there is no pair, or a block holds a value that is not finite.
    """
    sums = _Sums()
    for later, earlier in blocks:
        TokenPairs(later, earlier)
        sums.add(_tensor(later, device), _tensor(earlier, device))
    return sums.moments()


class _Sums:
    def __init__(self) -> None:
        self._pairs = 0
        self._shift: tuple[Tensor, Tensor] | None = None
        self._first: list[Tensor] = []
        self._second: list[Tensor] = []

    def add(self, later: Tensor, earlier: Tensor) -> None:
        if self._shift is None:
            self._shift = later.mean(0), earlier.mean(0)
            widths = later.shape[1], earlier.shape[1]
            self._first = [later.new_zeros(width, dtype=torch.float64) for width in widths]
            self._second = [later.new_zeros(widths[0], width, dtype=torch.float64) for width in widths]
        c, v = later - self._shift[0], earlier - self._shift[1]
        if not bool(torch.isfinite(c).all() and torch.isfinite(v).all()):
            raise ValueError(f"token pairs from {self._pairs} on: a value is not finite")
        for place, part in enumerate((c, v)):
            self._first[place] += part.double().sum(0)
            self._second[place] += (c.T @ part).double()
        self._pairs += len(c)

    def moments(self) -> TokenMoments:
        if self._shift is None:
            raise ValueError("no token pair: a map needs at least 2")
        means = [total / self._pairs for total in self._first]
        later, cross = (self._second[i] / self._pairs - torch.outer(means[0], means[i]) for i in (0, 1))
        centres = [(s.double() + m).cpu().numpy() for s, m in zip(self._shift, means, strict=True)]
        return TokenMoments(self._pairs, centres[0], centres[1], later.cpu().numpy(), cross.cpu().numpy())


def transfer(
    readouts: Sequence[Readout],
    pairs: TokenPairs | TokenMoments,
    validation_later: Floats,
    validation_earlier: Floats,
    *,
    strengths: Sequence[float] = STRENGTHS,
    device: str = "cpu",
) -> Transfer:
    """Carry readouts of the earlier locus over to the later one.

    One factorisation a lambda serves every readout. Validation images choose lambda for the first readout, by
    the error to its logits and without labels.

    Args:
        readouts: of the earlier locus: the one that counts, then its refits.
        pairs: token pairs of training images, or their moments.
        validation_later: pooled features (images, width) of the later locus, with their noise floor.
        validation_earlier: those of the earlier locus.
        strengths: values of lambda in units of a later feature's variance; at least epsilon squared.
        device: where torch computes.

    Raises:
        ValueError: a strength is below epsilon squared, or a value is not finite.
    """
    tried = sorted(map(float, strengths))
    if not tried or tried[0] < EPSILON**2 * (1 - 1e-9):
        raise ValueError(f"strengths {tuple(tried)}: expected one or more of at least {EPSILON**2:g}")
    weights = np.concatenate([readout.weights for readout in readouts], axis=1)
    columns = torch.from_numpy(weights).to(device)
    solved = _solve(pairs, columns, tried, device)
    offsets = np.concatenate([readout.intercept for readout in readouts])
    first = len(readouts[0].intercept)
    wanted = _centred(readouts[0].logits(validation_earlier))
    variance = max(float(wanted.var(axis=0).sum()), np.finfo(float).tiny)
    errors = {}
    for strength, (found, constant) in zip(tried, solved, strict=True):
        got = _centred(validation_later @ found[:, :first] + (constant + offsets)[:first])
        errors[strength] = float(((got - wanted) ** 2).sum(axis=1).mean()) / variance
    best = min(reversed(tried), key=errors.__getitem__)  # the largest of equals
    found, constant = solved[tried.index(best)]
    edges = np.cumsum([len(readout.intercept) for readout in readouts])[:-1]
    parts = zip(np.split(found, edges, axis=1), np.split(constant + offsets, edges), strict=True)
    return Transfer(tuple(Readout(w, b) for w, b in parts), best, errors)


def _centred(logits: Floats) -> NDArray[np.float64]:
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))  # a softmax does not see the rest


def _solve(
    pairs: TokenPairs | TokenMoments, columns: Tensor, strengths: Sequence[float], device: str
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return for each strength the weights (width, columns) and constants (columns,)."""
    if isinstance(pairs, TokenPairs):
        return _solve_kept(pairs, columns, strengths, device)
    later, cross = (torch.from_numpy(part).to(device) for part in (pairs.later, pairs.cross))
    centre = torch.from_numpy(pairs.later_mean).to(device)
    target = torch.from_numpy(pairs.earlier_mean).to(device) @ columns
    scale = _scales(later.diagonal(), centre.abs())
    later = later / scale / scale[:, None]
    return _factorised(later, (cross @ columns) / scale[:, None], scale, centre, target, strengths)


def _solve_kept(
    pairs: TokenPairs, columns: Tensor, strengths: Sequence[float], device: str
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Solve from the tokens themselves: logits stand for the earlier tokens, and few pairs have a small dual."""
    count, width = pairs.later.shape
    logits = torch.cat(
        [_tensor(pairs.earlier[i : i + _BLOCK], device).double() @ columns for i in _starts(count)]
    )
    total = torch.stack(
        [_tensor(pairs.later[i : i + _BLOCK], device).double().sum(0) for i in _starts(count)]
    )
    centre, target = total.sum(0) / count, logits.mean(0)
    logits = logits - target
    square = torch.zeros_like(centre)
    largest = torch.zeros_like(centre)
    for i in _starts(count):
        block = _tensor(pairs.later[i : i + _BLOCK], device).double() - centre
        square += (block**2).sum(0)
        largest = torch.maximum(largest, (block + centre).abs().amax(0))
    scale = _scales(square / count, largest)

    def standardised(start: int) -> Tensor:
        block = _tensor(pairs.later[start : start + _BLOCK], device)
        return (block - centre.float()) / scale.float()

    if count < width:
        whole = torch.cat([standardised(i) for i in _starts(count)])
        gram = (whole @ whole.T).double() / count
        found = []
        for strength in strengths:
            dual = torch.linalg.solve(_raised(gram, strength), logits) / count
            found.append(_unscaled((whole.T @ dual.float()).double(), scale, centre, target))
        return found
    gram = torch.zeros(width, width, dtype=torch.float64, device=device)
    cross = torch.zeros(width, logits.shape[1], dtype=torch.float64, device=device)
    for i in _starts(count):
        block = standardised(i)
        gram += (block.T @ block).double()
        cross += (block.T @ logits[i : i + _BLOCK].float()).double()
    return _factorised(gram / count, cross / count, scale, centre, target, strengths)


def _starts(count: int) -> range:
    return range(0, count, _BLOCK)


def _factorised(
    later: Tensor, cross: Tensor, scale: Tensor, centre: Tensor, target: Tensor, strengths: Sequence[float]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    found = []
    for strength in strengths:
        factor = torch.linalg.cholesky(_raised(later, strength))
        found.append(_unscaled(torch.cholesky_solve(cross, factor), scale, centre, target))
    return found


def _raised(square: Tensor, strength: float) -> Tensor:
    raised = square.clone()
    raised.diagonal().add_(strength)
    return raised


def _unscaled(
    weights: Tensor, scale: Tensor, centre: Tensor, target: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    weights = weights / scale[:, None]
    return weights.cpu().numpy(), (target - centre @ weights).cpu().numpy()


def _scales(variance: Tensor, largest: Tensor) -> Tensor:
    deviation = variance.clamp_min(0).sqrt()
    return torch.where(deviation <= _CONSTANT * largest, torch.inf, deviation)


def _tensor(rows: Floats, device: str) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(rows)).to(device).float()
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError("token pairs hold a value that is not finite; were they kept in float16?")
    return tensor


def group_folds(
    groups: Integers, labels: Integers, folds: int = FOLDS, *, seed: int = 0
) -> NDArray[np.int64]:
    """Deal the images (images,) into folds by whole groups, classes as even as may be.

    Raises:
        ValueError: there are fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if len(np.unique(groups)) < folds:
        raise ValueError(f"{len(np.unique(groups))} groups of training images for {folds} folds")
    if folds < 2:
        raise ValueError(f"{folds} folds: expected at least 2")
    dealt = np.empty(len(groups), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        dealt[held_out] = fold
    return dealt


def fit_subset(
    features: Floats,
    labels: Integers,
    chosen: NDArray[np.bool_],
    classes: int,
    strength: float,
    *,
    device: str = "cpu",
) -> Readout:
    """Fit the linear probe of one site to the `chosen` (images,) of its training features (images, width).

    `strength` is the C that the whole training set was given. It counts a sum over images, so a part of them
    gets C in proportion, the same penalty an image.
    """
    part, of_part = features[chosen], labels[chosen]
    scaled = strength * len(labels) / len(of_part)
    return Readout.of(
        fit_linear(part[None], of_part, part[None], of_part, classes, strengths=(scaled,), device=device)
    )


def fold_readouts(
    features: Floats, labels: Integers, folds: Integers, classes: int, strength: float, *, device: str = "cpu"
) -> tuple[Readout, ...]:
    """Fit a site's probe without each fold in turn; see `fit_subset`."""
    return tuple(
        fit_subset(features, labels, folds != fold, classes, strength, device=device)
        for fold in range(int(folds.max()) + 1)
    )


def out_of_fold_logits(readouts: Sequence[Readout], features: Floats, folds: Integers) -> NDArray[np.float64]:
    """Return each image's logits (images, classes) by the readout that was fitted without its fold."""
    every = np.stack([readout.logits(features) for readout in readouts])
    return every[folds, np.arange(len(folds))]


def choose_carried(
    direct: tuple[Readout, ...],
    transfers: Mapping[str, Transfer],
    train: Floats,
    train_labels: Integers,
    folds: Integers,
    validation: Floats,
    validation_labels: Integers,
) -> Carried:
    """Choose what stands for a locus by log-loss on validation: direct probe, transfer, or transfer refitted.

    The refit maps a transfer's K logits by `probes.fit.logistic_map`, fitted on the logits that each training
    image gets from the readout that did not see it: those of a readout that did are too sure. Test images
    take no part; ties go to the earlier of direct, transfer, refit.

    Args:
        direct: the locus's own probe, then its refits without one fold each.
        transfers: by the name of the earlier locus, its readouts in the same order.
        train: pooled features (images, width) of the locus.
        train_labels: (images,).
        folds: (images,), see `group_folds`.
        validation: (images, width).
        validation_labels: (images,).
    """
    candidates: dict[tuple[Kind, str | None], tuple[Readout, ...]] = {("direct", None): direct}
    for source, moved in transfers.items():
        candidates["transfer", source] = moved.readouts
        known = out_of_fold_logits(moved.readouts[1:], train, folds)
        scores = moved.readouts[0].logits(validation)
        mended = fit_logistic_map(known, train_labels, scores, validation_labels)
        candidates["refit", source] = tuple(readout.then(mended) for readout in moved.readouts)
    losses = {
        name: log_loss(made[0].logits(validation), validation_labels) for name, made in candidates.items()
    }
    best = min(losses, key=losses.__getitem__)
    readout, *refits = candidates[best]
    return Carried(readout, tuple(refits), *best, losses)
