"""The `linear` readout: L2 logistic regression at every site and strength, solved as one batch (torch)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probes.fit.scaling import Floats, Standardiser, standardise
from probes.fit.solver import solve_softmax

Integers = NDArray[np.integer]

STRENGTHS: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
TOLERANCE = 1e-7  # nats per image that the next step would still gain
ABSENT_LOG_PROBABILITY = float(np.log(1e-12))  # of a class without a training image

_MAX_ITERATIONS = 500
_COPIES_OF_FEATURES = 6  # single-precision arrays of the size of a site's features alive at the peak
_COPIES_OF_LOGITS = 6
_COPIES_OF_WEIGHTS = 28  # the solver's ten pairs, and weights, gradient, direction and their kin


class NotConverged(UserWarning):
    """Some probe did not reach the tolerance; the probes' `converged` says which."""


@dataclass(frozen=True)
class LinearProbes:
    """Fitted linear probes, one per site.

    `weights` has the shape (sites, width, classes) and applies to standardised features; `intercept`
    (sites, classes). `strength` is the chosen C of each site, `validation_log_loss` and `converged` have
    the shape (sites, strengths).
    """

    standardiser: Standardiser
    weights: NDArray[np.float32]
    intercept: NDArray[np.float32]
    strengths: tuple[float, ...]
    strength: NDArray[np.float64]
    validation_log_loss: NDArray[np.float64]
    converged: NDArray[np.bool_]

    def predict(self, features: Floats) -> NDArray[np.float64]:
        """Return log-probabilities (sites, images, classes) for features (sites, images, width)."""
        scores = self.standardiser.apply(features) @ self.weights + self.intercept[:, None]
        return _log_softmax(scores.astype(np.float64))


def fit_linear(
    train: Floats,
    train_labels: Integers,
    validation: Floats,
    validation_labels: Integers,
    classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    device: str = "cpu",
    memory_bytes: int = 2**31,
) -> LinearProbes:
    """Fit L2-penalised multinomial logistic regressions to all sites and strengths at once.

    Strengths are scikit-learn's C: the loss is `sum of log-losses + |weights|^2 / (2 C)`, the intercept
    unpenalised; for two classes C means what it means in scikit-learn's binary form. Features are
    standardised by the training images. Each site gets the strength with the smallest log-loss on
    validation, ties going to the stronger penalty. Log-loss and not accuracy decides: every image has a
    say in it by degrees, so it is far less noisy on a small validation set, where accuracy jumps by 1/m.

    Problems are solved in single precision and those that do not converge once more in double. A class
    without a training image gets the log-probability `ABSENT_LOG_PROBABILITY` everywhere.

    Args:
        train: (sites, images, width); sites of other widths need another call.
        train_labels: (images,), from 0 to `classes` - 1.
        validation: (sites, images, width).
        validation_labels: (images,).
        classes: number of classes of the task.
        strengths: the values of C to choose from.
        device: where torch computes, for example "cuda:0".
        memory_bytes: an upper bound for the working memory beside the arrays handed in; sites are
            taken in groups that fit, at least one at a time. The result does not depend on it beyond
            rounding.

    Raises:
        ValueError: shapes or labels do not fit together, or a value is not finite.
    """
    _check(train, train_labels, validation, validation_labels, classes, strengths)
    scaling = standardise(train)
    chosen = tuple(sorted(float(c) for c in strengths))
    present, target = np.unique(train_labels, return_inverse=True)
    size = _sites_at_once(train, len(chosen) * len(present), memory_bytes)
    weights, intercepts, losses, solved = [], [], [], []
    for start in range(0, len(train), size):
        part = slice(start, start + size)
        local = Standardiser(scaling.mean[part], scaling.scale[part])
        paths, converged = _fit_paths(local.apply(train[part]), target, len(present), chosen, device)
        scores = _path_scores(paths, local.apply(validation[part]), classes, present)
        loss = -np.take_along_axis(scores, validation_labels[None, None, :, None], axis=3).mean(axis=(2, 3))
        best = loss.argmin(axis=1)  # the first of equals, and strengths rise: the stronger penalty
        picked = paths[np.arange(len(paths)), best]
        weights.append(_every_class(picked[:, :, :-1], classes, present, 0.0).transpose(0, 2, 1))
        intercepts.append(_every_class(picked[:, :, -1], classes, present, ABSENT_LOG_PROBABILITY))
        losses.append(loss)
        solved.append(converged)
    loss, converged = np.concatenate(losses), np.concatenate(solved)
    if not converged.all():
        text = f"{(~converged).sum()} of {converged.size} linear probes did not reach the tolerance"
        warnings.warn(text, NotConverged, stacklevel=2)
    return LinearProbes(
        standardiser=scaling,
        weights=np.ascontiguousarray(np.concatenate(weights), dtype=np.float32),
        intercept=np.concatenate(intercepts).astype(np.float32),
        strengths=chosen,
        strength=np.asarray(chosen)[loss.argmin(axis=1)],
        validation_log_loss=loss,
        converged=converged,
    )


def _check(
    train: Floats,
    train_labels: Integers,
    validation: Floats,
    validation_labels: Integers,
    classes: int,
    strengths: Sequence[float],
) -> None:
    """Refuse arrays that do not fit together, naming the first that does not."""
    if train.ndim != 3 or validation.ndim != 3:
        raise ValueError(f"features of {train.ndim} and {validation.ndim} dimensions: expected 3 and 3")
    if (train.shape[0], train.shape[2]) != (validation.shape[0], validation.shape[2]):
        raise ValueError(f"train {train.shape} and validation {validation.shape}: sites or widths differ")
    for name, features, labels in (
        ("train", train, train_labels),
        ("validation", validation, validation_labels),
    ):
        if labels.shape != (features.shape[1],):
            raise ValueError(f"{name}: {labels.shape} labels for {features.shape[1]} images")
        if features.shape[1] == 0:
            raise ValueError(f"{name}: no image; probes need some to fit and some to choose the strength")
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"{name}: labels from {labels.min()} to {labels.max()} for {classes} classes")
    if not strengths or min(strengths) <= 0:
        raise ValueError(f"strengths {tuple(strengths)}: expected one or more positive numbers")


def _sites_at_once(train: Floats, columns: int, memory_bytes: int) -> int:
    _, images, width = train.shape
    rank = min(images, width)
    per_site = 4 * (
        _COPIES_OF_FEATURES * images * width
        + 4 * rank * max(images, width)
        + _COPIES_OF_LOGITS * images * columns
        + _COPIES_OF_WEIGHTS * columns * (rank + 1)
    )
    return max(1, memory_bytes // per_site)


def _fit_paths(
    features: NDArray[np.float32], labels: Integers, classes: int, strengths: tuple[float, ...], device: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Fit every strength; weights (sites, strengths, classes, width + 1), the intercept last."""
    sites, _, width = features.shape
    if classes == 1:  # nothing to separate: the absent classes alone are improbable
        shape = (sites, len(strengths))
        return np.zeros((*shape, 1, width + 1), np.float32), np.ones(shape, bool)
    data = torch.from_numpy(features).to(device)
    target = torch.from_numpy(labels.astype(np.int64)).to(device)
    # Two classes: the softmax's weights are plus and minus half of the binary form's, so the same
    # penalty on the latter is twice the penalty on the former.
    penalties = torch.tensor([(2 if classes == 2 else 1) / c for c in strengths], dtype=torch.float64)
    paths = np.empty((sites, len(strengths), classes, width + 1), np.float32)
    rotated, rotations = _rotate(data)
    found, solved = solve_softmax(
        rotated, target, classes, penalties.to(device), tolerance=TOLERANCE, max_iterations=_MAX_ITERATIONS
    )
    for site, strength in torch.nonzero(~solved).tolist():
        again = solve_softmax(
            rotated[site][None].double(),
            target,
            classes,
            penalties[[strength]].to(device),
            tolerance=TOLERANCE,
            max_iterations=_MAX_ITERATIONS,
        )
        found[site, strength], solved[site, strength] = again[0][0, 0], again[1][0, 0]
    paths[..., -1] = found[..., -1].cpu().numpy()
    for site, rotation in enumerate(rotations):
        rank = rotation.shape[1]
        paths[site, ..., :-1] = (found[site, ..., :rank] @ rotation.T).cpu().numpy()
    return paths, solved.cpu().numpy()


def _rotate(features: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Express each site's features in their principal components.

    An L2 penalty does not see a rotation, and directions in which no training image differs get no
    weight; so the fit in at most min(images, width) components is the fit in all of them, the Hessian
    becomes almost diagonal, and a width far above the number of images costs nothing. The smaller of
    the two Gram matrices is decomposed. Sites of lower rank are padded with components that are 0.
    """
    parts, rotations = [], []
    for site in features:
        images, width = site.shape
        wide = width > images
        gram = (site @ site.T if wide else site.T @ site).double()
        values, vectors = torch.linalg.eigh(gram)
        kept = values > 1e-7 * values[-1].clamp_min(torch.finfo(values.dtype).tiny)
        values, vectors = values[kept], vectors[:, kept]
        rotation = (site.T.double() @ (vectors / values.sqrt()) if wide else vectors).float()
        parts.append(site @ rotation)
        rotations.append(rotation)
    rank = max(1, *(part.shape[1] for part in parts)) if parts else 1
    return torch.stack([torch.nn.functional.pad(p, (0, rank - p.shape[1])) for p in parts]), rotations


def _path_scores(
    paths: NDArray[np.float32], features: NDArray[np.float32], classes: int, present: Integers
) -> NDArray[np.float64]:
    """Return log-probabilities (sites, strengths, images, classes)."""
    scores = features[:, None] @ paths[..., :-1].transpose(0, 1, 3, 2) + paths[..., -1][:, :, None]
    full = _every_class(scores.transpose(0, 3, 1, 2), classes, present, ABSENT_LOG_PROBABILITY)
    return _log_softmax(full.transpose(0, 2, 3, 1).astype(np.float64))


def _every_class(values: Floats, classes: int, present: Integers, absent: float) -> Floats:
    """Spread values of the classes that occur in training (axis 1) over all classes of the task."""
    full = np.full((values.shape[0], classes, *values.shape[2:]), absent, dtype=values.dtype)
    full[:, present] = values
    return full


def _log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
