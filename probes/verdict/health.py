"""The Feature Health Score of one module, with an interval that allows for noise, without torch.

The score is that of Zhu et al., "Lost in the Hype", arXiv 2604.08333, for a module's probe accuracies P
along its layers:

    FHS = P_end (1 + GF) VP,  GF = ln(P_end / sqrt(P_start P_min)),  VP = exp(-weight TV / P_end),

TV being the sum of |P_(i+1) - P_i|. It can fall below 0 or exceed 1 and is not comparable across numbers
of classes. Noise alone raises TV and lowers the minimum, so the published score of a noisy curve is too
low or too high by an amount that depends on the true curve, which no resampling can know. The interval
here brackets that amount instead of guessing it:

1. A measured step d with standard error s has E|d| between |D| and |D| + sqrt(2/pi) s for a true step D;
   the excess falls quickly as |D| grows. For each step the largest excess is taken over true steps at
   least |d| - 2 s in size. Their sum is what noise may have added to TV.
2. The measured minimum lies below the true one on average. What noise may have taken off is the mean
   depth of the noise's minimum over the layers within 2 standard errors of the lowest one.
3. The score is computed at both ends of these ranges and widened by the spread of its bootstrap draws over
   groups of images, taken as deviations from their median: their level, which noise shifts, is not used.
   The longer of the two sides serves for both.

Nothing is assumed about the shape of the curve, so the interval is wider than one for smooth curves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.stats.bootstrap import ClusterBootstrap
from probes.stats.metrics import effective_size, group_index, wilson_interval

Floats = NDArray[np.floating]

WEIGHT = 0.2  # lambda of the published score
NOISE_LIMIT = 0.1  # share of the score that noise may make up before nothing may be ranked by it

_REACH = 2.0  # standard errors within which a step or a minimum counts as possibly noise
_NOISE_DRAWS = 2000


@dataclass(frozen=True)
class ModuleHealth:
    """One module's Feature Health Score, its parts, its 95% interval and what noise does to it.

    `start`, `end` and `min` are accuracies, `fhs` is exactly the published score of the measured curve.
    `low` and `high` allow for noise and sampling. `fhs_noise` is the score that a flat curve of the same
    mean, depth and test size gets when its layers flip as often as the measured ones. `noise_limited`:
    rank nothing by this score.
    """

    start: float
    end: float
    min: float
    growth_factor: float
    volatility_penalty: float
    fhs: float
    low: float
    high: float
    fhs_noise: float
    noise_limited: bool


def feature_health_score(
    accuracies: Floats, *, weight: float = WEIGHT, floor: float = 0.0
) -> NDArray[np.float64]:
    """Return the published score of curves (..., layers), accuracies raised to at least `floor`."""
    return _score(*_summary(np.maximum(accuracies, floor)), weight)


def health(
    correct: Floats | NDArray[np.bool_],
    groups: Sequence[object] | NDArray[np.generic],
    *,
    weight: float = WEIGHT,
    draws: int = 2000,
    seed: int = 0,
) -> ModuleHealth:
    """Score one module from its layers' test outcomes.

    `noise_limited` is set where the two ends of what noise may explain (steps 1 and 2 of the module's
    text) differ by more than `NOISE_LIMIT` of the score, or the score is not above 0.

    Args:
        correct: (layers, images), 1 where the probe was right, or its mean over seeds; layers in order.
        groups: (images,), the group of each image; groups are resampled whole.
        weight: of the volatility penalty.
        draws: bootstrap draws.
        seed: of the bootstrap and of `fhs_noise`.

    Raises:
        ValueError: shapes do not fit together, or a value lies outside 0 to 1.
    """
    outcomes = np.asarray(correct, dtype=np.float64)
    index, count = group_index(groups)
    if outcomes.ndim != 2 or outcomes.shape[0] == 0 or outcomes.shape[1] != len(index):
        raise ValueError(
            f"outcomes of shape {outcomes.shape} for {len(index)} images: expected layers x images"
        )
    if not (outcomes.min() >= 0 and outcomes.max() <= 1):
        raise ValueError(f"outcomes from {outcomes.min()} to {outcomes.max()}: expected 0 to 1")
    layers, images = outcomes.shape
    floor = 1 / (2 * images)
    curve = np.maximum(outcomes.mean(axis=1), floor)
    start, end, lowest, variation = (float(part) for part in _summary(curve))
    fhs = float(_score(start, end, lowest, variation, weight))
    drawn = ClusterBootstrap.of(groups, draws=draws, seed=seed).means(outcomes)
    steps = np.diff(curve)
    step_error = np.sqrt(_clustered_variance(np.diff(outcomes, axis=0), index, count))
    added = noise_in_variation(steps, step_error)
    removed = _noise_in_minimum(curve, drawn)
    noise_low = float(_score(start, end, min(lowest + removed, start, end), variation, weight))
    noise_high = float(_score(start, end, lowest, max(0.0, variation - added), weight))
    scores = feature_health_score(drawn, weight=weight, floor=floor)
    # The longer side for both: which way the draws are skewed depends on the curve that was measured.
    spread = float(np.abs(np.quantile(scores, (0.025, 0.975)) - np.median(scores)).max())
    # Near 0 and 1 draws hardly vary; the end's Wilson limits, which the score scales with, still do.
    end_low, end_high = wilson_interval(float(outcomes[-1].mean()), effective_size(outcomes[-1], groups))
    lows = (noise_low - spread, noise_low * end_low / end if noise_low > 0 else noise_low)
    highs = (noise_high + spread, noise_high * end_high / end if noise_high > 0 else noise_high)
    independent = _clustered_variance(np.diff(outcomes, axis=0), np.arange(images), images)
    effect = max(1.0, float((step_error**2).sum() / independent.sum())) if independent.sum() > 0 else 1.0
    return ModuleHealth(
        start=start,
        end=end,
        min=lowest,
        growth_factor=float(np.log(end / np.sqrt(start * lowest))),
        volatility_penalty=float(np.exp(-weight * variation / end)),
        fhs=fhs,
        low=min(*lows, fhs),
        high=max(*highs, fhs),
        fhs_noise=flat_curve_score(
            float(outcomes.mean()),
            np.mean(np.diff(outcomes, axis=0) ** 2, axis=1),
            max(1, round(images / effect)),
            weight=weight,
            seed=seed,
        ),
        noise_limited=layers > 1 and (fhs <= 0 or noise_high - noise_low > NOISE_LIMIT * fhs),
    )


def noise_in_variation(steps: Floats, errors: Floats) -> float:
    """Return the largest amount that noise may have added to the sum of |steps|, on average.

    A normal step with true size D and standard error s has E|d| - D = s e(D / s) with the folded-normal
    excess e(x) = 2 (phi(x) - x (1 - Phi(x))), which falls with x.
    """
    from scipy.stats import norm

    known = errors > 0
    size = np.maximum(np.abs(steps[known]) / errors[known] - _REACH, 0.0)
    return float((errors[known] * 2 * (norm.pdf(size) - size * norm.sf(size))).sum())


def flat_curve_score(
    accuracy: float, flips: Floats, images: int, *, weight: float = WEIGHT, seed: int = 0
) -> float:
    """Return the mean score of simulated curves whose true accuracy is the same at every layer.

    Every image is right or wrong at the first layer and changes at step i with a probability that keeps
    the accuracy in balance and flips the share `flips[i]` of all images; given their number, flips are
    independent.
    """
    rng = np.random.default_rng(seed)
    floor = 1 / (2 * images)
    right = rng.binomial(images, accuracy, size=_NOISE_DRAWS)
    curves = [right]
    for flip in flips:
        share = min(float(flip), 2 * min(accuracy, 1 - accuracy))
        lost = rng.binomial(right, share / (2 * accuracy)) if share > 0 else 0
        won = rng.binomial(images - right, share / (2 * (1 - accuracy))) if share > 0 else 0
        right = right - lost + won
        curves.append(right)
    return float(feature_health_score(np.stack(curves, axis=1) / images, weight=weight, floor=floor).mean())


def _summary(curves: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return start, end, minimum and total variation of curves (..., layers)."""
    variation = np.abs(np.diff(curves, axis=-1)).sum(axis=-1)
    return curves[..., 0], curves[..., -1], curves.min(axis=-1), variation


def _score(
    start: Floats | float,
    end: Floats | float,
    lowest: Floats | float,
    variation: Floats | float,
    weight: float,
) -> NDArray[np.float64]:
    growth = np.log(np.asarray(end) / np.sqrt(np.asarray(start) * lowest))
    return np.asarray(end * (1 + growth) * np.exp(-weight * np.asarray(variation) / end))


def _clustered_variance(values: Floats, index: NDArray[np.integer], groups: int) -> NDArray[np.float64]:
    """Return the variance of each row's mean over images, whole groups being the sampling unit."""
    residual = values - values.mean(axis=1, keepdims=True)
    sums = (
        np.stack([np.bincount(index, weights=row, minlength=groups) for row in residual])
        if len(values)
        else residual
    )
    return (sums**2).sum(axis=1) / values.shape[1] ** 2 * (groups / max(groups - 1, 1))


def _noise_in_minimum(curve: Floats, drawn: Floats) -> float:
    """Return how far noise may have pushed the curve's minimum below the true one, on average."""
    noise = drawn - drawn.mean(axis=0)
    lowest = int(curve.argmin())
    error = (noise - noise[:, [lowest]]).std(axis=0)
    near = curve <= curve[lowest] + _REACH * error
    return float(-noise[:, near].min(axis=1).mean())
