"""A linear reader of the class: how much of it a place holds, quick enough to be asked often."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

_PENALTY = 3e-3  # of squared weights, per image; near what validation chooses for 1,500 images
_ITERATIONS = 60
_SILENCE = 3e-4  # weight of the mean square of scores that are to be 0


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Logits `weights @ x + intercept`; `weights` (classes, width), `intercept` (classes,), float64."""

    weights: Tensor = field(repr=False)
    intercept: Tensor = field(repr=False)

    def logits(self, vectors: Tensor) -> Tensor:
        """Return class logits (n, classes) of vectors (n, width)."""
        return vectors.double() @ self.weights.T + self.intercept


def fit_linear_probe(
    vectors: Tensor, labels: Tensor, classes: int, *, penalty: float = _PENALTY
) -> LinearProbe:
    """Fit an L2-penalised multinomial logistic regression to standardised vectors (n, width)."""
    x = vectors.double()
    mean, scale = x.mean(0), x.std(0)
    scale = torch.where(scale > 1e-9 * (1.0 + mean.abs()), scale, torch.full_like(scale, torch.inf))
    weights, intercept = _fit((x - mean) / scale, labels, classes, penalty)
    rows = weights / scale
    return LinearProbe(rows, intercept - rows @ mean)


def fit_rows(
    vectors: Tensor, labels: Tensor, silent: Tensor, classes: int, *, penalty: float = _PENALTY
) -> Tensor:
    """Fit the same without an intercept, which a head has not; return the rows (classes, width).

    The rows are to say next to nothing of `silent` (m, width). The penalty is on the rows in coordinates where
    the vectors' mean square is 1 in every direction, their mean included, except that directions of less than
    a thousandth of it are not made larger.
    """
    x = vectors.double()
    values, basis = torch.linalg.eigh(x.T @ x / len(x))
    whitening = basis / (values.clamp(min=0.0) + 1e-3 * values.mean()).sqrt()
    weights, _ = _fit(x @ whitening, labels, classes, penalty, silent=silent.double() @ whitening)
    return weights @ whitening.T


def _fit(
    z: Tensor, labels: Tensor, classes: int, penalty: float, *, silent: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return weights (classes, d) and intercept (classes,); the latter is 0 where something is to be silent."""
    weights = torch.zeros(classes, z.shape[1], dtype=torch.float64, requires_grad=True)
    intercept = torch.zeros(classes, dtype=torch.float64, requires_grad=silent is None)
    quiet = torch.zeros(z.shape[1], z.shape[1], dtype=torch.float64)
    if silent is not None:
        quiet = _SILENCE * silent.T @ silent / len(silent)
    fitted = [weights, intercept] if silent is None else [weights]
    solver = torch.optim.LBFGS(fitted, max_iter=_ITERATIONS, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = torch.nn.functional.cross_entropy(z @ weights.T + intercept, labels)
        loss = loss + penalty * weights.square().sum() + (weights @ quiet * weights).sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(closure)
    return weights.detach(), intercept.detach()


def points(predicted: Tensor, labels: Tensor, classes: int) -> float:
    """Return the balanced accuracy in points, 0 to 100; classes without an image are left out."""
    right = (predicted == labels).double()
    of_class = [right[labels == k].mean() for k in range(classes) if bool((labels == k).any())]
    return 100.0 * float(torch.stack(of_class).mean())
