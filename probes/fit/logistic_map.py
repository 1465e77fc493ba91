"""G3: a multinomial logistic map of the label scores, with the plain answers as its simplest case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

STRENGTHS: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)

_SLOPE_BOUNDS = (1e-4, 1e3)  # per standard deviation of the scores; positive, so the plain answers survive
_KEEP_FINITE = 1e-2  # weight of the penalty on intercept and slope where images are separable; else not felt
_MAX_ITERATIONS = 1000


@dataclass(frozen=True, eq=False)
class LogisticMap:
    """Class logits `weights @ scores + intercept`, fitted to a model's K label scores.

    `weights` (classes, classes) is a positive multiple of the identity plus a penalised part. `form` says
    which of the nested families validation chose: "temperature" (the multiple alone: the plain answers),
    "intercept" (with one constant a class) or "full"; `strength` is the C of the full form, else None.
    `validation_log_loss` holds every candidate's, simplest first.
    """

    weights: NDArray[np.float64]
    intercept: NDArray[np.float64]
    form: str
    strength: float | None
    validation_log_loss: tuple[float, ...]

    def logits(self, scores: Floats) -> NDArray[np.float64]:
        """Return class logits (images, classes) for label scores (images, classes)."""
        return np.asarray(scores, np.float64) @ self.weights.T + self.intercept


def fit_logistic_map(
    scores: Floats,
    labels: Integers,
    validation_scores: Floats,
    validation_labels: Integers,
    *,
    strengths: Sequence[float] = STRENGTHS,
) -> LogisticMap:
    """Fit the nested family of logistic maps and choose its member by log-loss on validation.

    The logits are `t * s + V (s - b) + a`: a slope t > 0, a matrix V with the penalty |V|^2 / (2 C) on
    scores divided by their standard deviation, an intercept a, and b the mean scores. V = 0, a = 0 is a
    temperature, whose argmax is the model's own answer, so a strong penalty shrinks the map to the plain
    answers and not to chance. A weak penalty on a and on t - 1 keeps them finite where the images are
    separable. Every member minimises a convex loss that contains t = 1, V = 0, a = 0 without penalty, so
    its log-loss on the images it is fitted on is never above that of the scores themselves. Ties on
    validation go to the simpler member.

    Args:
        scores: (images, classes), finite.
        labels: (images,), from 0 to classes - 1.
        validation_scores: (images, classes), finite; they choose the member and nothing else.
        validation_labels: (images,).
        strengths: the values of C tried in the full form.

    Raises:
        ValueError: shapes do not fit, there is no image, or a strength is not positive.
    """
    if not strengths or min(strengths) <= 0:
        raise ValueError(f"strengths {tuple(strengths)}: expected one or more positive numbers")
    for name, s, y in (("fit", scores, labels), ("validation", validation_scores, validation_labels)):
        if s.ndim != 2 or y.shape != s.shape[:1] or len(s) == 0:
            raise ValueError(f"{name}: scores of shape {s.shape} and labels of shape {y.shape} do not fit")
    candidates: list[tuple[str, float | None]] = [("temperature", None), ("intercept", None)]
    candidates += [("full", c) for c in sorted(map(float, strengths))]
    fitted, losses = [], []
    start = None
    for form, strength in candidates:
        weights, intercept, start = _fit(scores, labels, form, strength, start)
        fitted.append((weights, intercept))
        losses.append(log_loss(validation_scores @ weights.T + intercept, validation_labels))
    best = int(np.argmin(losses))  # the first of equals is the simplest
    weights, intercept = fitted[best]
    return LogisticMap(weights, intercept, *candidates[best], tuple(losses))


def log_loss(logits: Floats, labels: Integers) -> float:
    """Return the mean negative log-probability of the labels, in nats."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def _fit(
    scores: Floats, labels: Integers, form: str, strength: float | None, start: Floats | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit one member; return weights, intercept and the parameters to start the next member from."""
    from scipy.optimize import minimize

    classes = scores.shape[1]
    scores = np.asarray(scores, np.float64)
    relative = scores - scores.mean(axis=1, keepdims=True)  # the softmax does not see the slope's constant
    centre = scores.mean(axis=0)
    scale = float((scores - centre).std())
    if not scale > 1e-12 * max(1.0, float(np.abs(scores).max())):
        scale = 1.0  # constant scores: only the intercept can learn anything
    plain, centred = relative / scale, (scores - centre) / scale
    given = float(np.clip(scale, *_SLOPE_BOUNDS))  # t = 1 in the units of the scores
    if start is None:
        start = np.zeros(1 + classes + classes * classes)
        start[0] = given
    free: tuple[float | None, float | None] = (None, None)
    fixed: tuple[float | None, float | None] = (0.0, 0.0)
    bounds: list[tuple[float | None, float | None]] = [_SLOPE_BOUNDS]
    bounds += [fixed if form == "temperature" else free] * classes
    bounds += [free if form == "full" else fixed] * (classes * classes)
    found = minimize(
        _objective,
        start,
        args=(plain, centred, np.eye(classes)[labels], 0.0 if strength is None else 1.0 / strength, given),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _MAX_ITERATIONS, "maxfun": 2 * _MAX_ITERATIONS, "ftol": 1e-10, "gtol": 1e-7},
    )
    slope, intercept, extra = _unpack(found.x, classes)
    weights = (slope * np.eye(classes) + extra) / scale
    return weights, intercept - extra @ centre / scale, found.x


def _unpack(parameters: Floats, classes: int) -> tuple[float, Floats, Floats]:
    return parameters[0], parameters[1 : classes + 1], parameters[classes + 1 :].reshape(classes, classes)


def _objective(
    parameters: Floats, plain: Floats, centred: Floats, target: Floats, penalty: float, given: float
) -> tuple[float, Floats]:
    """Return the penalised log-loss per image and its gradient; `given` is the slope t = 1."""
    images, classes = target.shape
    slope, intercept, extra = _unpack(parameters, classes)
    logits = slope * plain + centred @ extra.T + intercept
    logits -= logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits)
    total = probabilities.sum(axis=1, keepdims=True)
    probabilities /= total
    loss = float(np.log(total).sum() - (logits * target).sum())
    loss += 0.5 * penalty * float((extra**2).sum())
    loss += 0.5 * _KEEP_FINITE * float((intercept**2).sum() + (slope - given) ** 2)
    residual = probabilities - target
    gradient = np.concatenate(
        [
            [(residual * plain).sum() + _KEEP_FINITE * (slope - given)],
            residual.sum(axis=0) + _KEEP_FINITE * intercept,
            (residual.T @ centred + penalty * extra).ravel(),
        ]
    )
    return loss / images, gradient / images
