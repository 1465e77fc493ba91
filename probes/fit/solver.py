"""Many L2-penalised multinomial logistic regressions solved as one batch (torch).

The features must be uncorrelated (principal components), so that a diagonal preconditioner is a good
one: in these coordinates the Hessian at zero weights is diagonal for every class, site and strength.
The method is L-BFGS (Nocedal and Wright 2006, algorithm 7.4) with that diagonal as its first matrix.
Logits are linear in the weights, so a line search costs a softmax and no product with the features; it
looks at slopes alone, because differences of the loss drown in single precision near the optimum.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

_MEMORY = 10  # pairs of steps and gradient changes that L-BFGS keeps
_LINE_SEARCH = 20  # at most this many slopes per step
_COMPACT_EVERY = 4  # iterations between two checks for finished sites and strengths


@dataclass
class _Problems:
    """The problems still being solved: a block of sites times strengths.

    Shapes: `features` (sites, images, rank), `penalty` (strengths, 1, rank), `weights`, `gradient` and
    `inverse_diagonal` (sites, strengths, classes, rank), `logits` (sites, strengths, classes, images),
    `done` (sites, strengths).
    """

    sites: Tensor
    strengths: Tensor
    features: Tensor
    targets: Tensor
    penalty: Tensor
    inverse_diagonal: Tensor
    weights: Tensor
    logits: Tensor
    gradient: Tensor
    done: Tensor
    history: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def keep(self, sites: Tensor, strengths: Tensor) -> None:
        """Drop every site and strength but the ones at these positions."""

        def part(block: Tensor) -> Tensor:
            return block[sites][:, strengths]

        self.sites, self.strengths = self.sites[sites], self.strengths[strengths]
        self.features, self.penalty = self.features[sites], self.penalty[strengths]
        self.inverse_diagonal, self.weights = part(self.inverse_diagonal), part(self.weights)
        self.logits, self.gradient = part(self.logits), part(self.gradient)
        self.done = part(self.done)
        self.history = [(part(s), part(y), part(r)) for s, y, r in self.history]


def solve_softmax(
    features: Tensor,
    labels: Tensor,
    classes: int,
    penalties: Tensor,
    *,
    tolerance: float,
    max_iterations: int,
) -> tuple[Tensor, Tensor]:
    """Minimise the summed log-loss plus `penalty / 2 * |weights|^2` for every site and penalty.

    Args:
        features: (sites, images, rank), uncorrelated and centred; its dtype is that of the arithmetic.
        labels: (images,), every class from 0 to `classes` - 1 present.
        classes: number of classes, at least 2.
        penalties: (strengths,).
        tolerance: a problem is solved when the decrease that its next step promises is below this many
            nats per image.
        max_iterations: after which the remaining problems are given back as they are.

    Returns:
        Weights (sites, strengths, classes, rank + 1), the unpenalised intercept last, and whether each
        (site, strength) was solved.
    """
    problems = _start(features, labels, classes, penalties)
    enough = tolerance * features.shape[1]
    found = problems.weights.clone()
    solved = torch.zeros(found.shape[:2], dtype=torch.bool, device=found.device)
    for iteration in range(max_iterations + 1):
        direction = _direction(problems)
        promise = -_dot(problems.gradient, direction)
        problems.done |= promise.abs() <= enough
        last = bool(problems.done.all()) or iteration == max_iterations
        if last or iteration % _COMPACT_EVERY == 0:
            where = (problems.sites[:, None], problems.strengths[None, :])
            found[where], solved[where] = problems.weights, problems.done
            if last:
                break
            direction, promise = _compact(problems, direction, promise)
        _step(problems, direction, promise)
    return found, solved


def _start(features: Tensor, labels: Tensor, classes: int, penalties: Tensor) -> _Problems:
    sites, images, rank = features.shape
    ones = features.new_ones(sites, images, 1)
    features = torch.cat([features, ones], dim=2)
    targets = torch.nn.functional.one_hot(labels, classes).T.to(features.dtype).contiguous()
    prior = targets.mean(dim=1)
    penalty = penalties.to(features).reshape(-1, 1, 1).repeat(1, 1, rank + 1)
    penalty[..., -1] = 0
    curvature = (prior * (1 - prior))[:, None] * features.square().sum(dim=1)[:, None, None, :]
    weights = features.new_zeros(sites, len(penalties), classes, rank + 1)
    weights[..., -1] = prior.log()
    logits = prior.log()[:, None].expand(sites, len(penalties), classes, images).clone()
    problems = _Problems(
        sites=torch.arange(sites, device=features.device),
        strengths=torch.arange(len(penalties), device=features.device),
        features=features,
        targets=targets,
        penalty=penalty,
        inverse_diagonal=1 / (curvature + penalty).clamp_min(torch.finfo(features.dtype).tiny),
        weights=weights,
        logits=logits,
        gradient=weights,
        done=torch.zeros(weights.shape[:2], dtype=torch.bool, device=features.device),
    )
    problems.gradient = _gradient(problems)
    return problems


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return torch.einsum("sckr,sckr->sc", left, right)


def _logits(problems: _Problems, weights: Tensor) -> Tensor:
    sites, strengths, classes, rank = weights.shape
    product = torch.bmm(weights.reshape(sites, strengths * classes, rank), problems.features.mT)
    return product.reshape(sites, strengths, classes, -1)


def _gradient(problems: _Problems) -> Tensor:
    residual = torch.softmax(problems.logits, dim=2).sub_(problems.targets)
    sites, strengths, classes, images = residual.shape
    product = torch.bmm(residual.reshape(sites, strengths * classes, images), problems.features)
    return product.reshape(problems.weights.shape) + problems.penalty * problems.weights


def _direction(problems: _Problems) -> Tensor:
    """The two-loop recursion; a pair without curvature has weight 0 and changes nothing."""
    vector = problems.gradient.clone()
    factors = []
    for step, change, inverse in reversed(problems.history):
        factor = (inverse * _dot(step, vector))[..., None, None]
        vector -= factor * change
        factors.append(factor)
    vector *= problems.inverse_diagonal
    if problems.history:
        _, change, inverse = problems.history[-1]
        size = inverse * _dot(change * problems.inverse_diagonal, change)
        vector *= torch.where(size > 0, 1 / size, 1.0)[..., None, None]
    for (step, change, inverse), factor in zip(problems.history, reversed(factors), strict=True):
        vector += (factor - (inverse * _dot(change, vector))[..., None, None]) * step
    return vector.neg_()


def _compact(problems: _Problems, direction: Tensor, promise: Tensor) -> tuple[Tensor, Tensor]:
    """Drop the sites and strengths whose problems are all solved."""
    sites = torch.nonzero(~problems.done.all(dim=1)).flatten()
    strengths = torch.nonzero(~problems.done.all(dim=0)).flatten()
    if len(sites) * len(strengths) == problems.done.numel():
        return direction, promise
    problems.keep(sites, strengths)
    return direction[sites][:, strengths], promise[sites][:, strengths]


def _step(problems: _Problems, direction: Tensor, promise: Tensor) -> None:
    """Move every problem along its direction and remember the step and the change of the gradient."""
    along = _logits(problems, direction)
    length = _line_search(problems, direction, along, promise)[..., None, None]
    step = length * direction
    before = problems.gradient
    problems.weights = problems.weights + step
    problems.logits.add_(along.mul_(length))
    problems.gradient = _gradient(problems)
    change = problems.gradient - before
    curvature = _dot(step, change)
    inverse = torch.where(curvature > 0, 1 / curvature, 0.0)
    problems.history = [*problems.history, (step, change, inverse)][-_MEMORY:]


def _line_search(problems: _Problems, direction: Tensor, along: Tensor, promise: Tensor) -> Tensor:
    """Find step lengths at which the slope lies between -0.9 and +0.1 of the first one.

    The loss is convex, so its slope along a line only rises: the lengths at which it is too low and too
    high bracket the wanted ones, and the secant, kept off the ends of the bracket, finds one.
    """
    weighted = problems.penalty * direction
    start, growth = _dot(weighted, problems.weights), _dot(weighted, direction)
    low, high = torch.zeros_like(promise), torch.full_like(promise, torch.inf)
    slope_low, slope_high = -promise, torch.zeros_like(promise)
    length = torch.ones_like(promise)
    for _ in range(_LINE_SEARCH):
        residual = torch.softmax(problems.logits + length[..., None, None] * along, dim=2)
        residual -= problems.targets
        slope = torch.einsum("sckn,sckn->sc", residual, along) + start + length * growth
        good = problems.done | ((slope <= 0.1 * promise) & (slope >= -0.9 * promise))
        if bool(good.all()):
            break
        falling = slope < 0
        low, slope_low = torch.where(falling, length, low), torch.where(falling, slope, slope_low)
        high, slope_high = torch.where(falling, high, length), torch.where(falling, slope_high, slope)
        secant = low - slope_low * (high - low) / (slope_high - slope_low)
        margin = 0.05 * (high - low)
        inside = (secant > low + margin) & (secant < high - margin)
        bracketed = torch.where(inside, secant, (low + high) / 2)
        length = torch.where(good, length, torch.where(torch.isinf(high), 2 * length, bracketed))
    return torch.where(problems.done, 0.0, length)
