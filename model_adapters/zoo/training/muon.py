"""Muon in float32: momentum steps made orthogonal, for the weight matrices of repeated blocks.

`torch.optim.Muon` orthogonalises in bfloat16, which processors without it emulate: on a laptop it took
longer than the forward and backward passes of these small models together, this takes a tenth of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# The quintic iteration that pulls all singular values towards 1 (Jordan et al. 2024, "Muon").
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MOMENTUM = 0.95


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, with the root mean square of an AdamW step (0.2 of the rate).

    Args:
        params: matrices, two-dimensional.
        lr: learning rate, as for AdamW.
        weight_decay: share of the rate by which weights shrink each step.
    """

    def __init__(self, params: Sequence[Tensor], *, lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no caller re-evaluates a loss
        """Change every matrix that has a gradient; those of one shape are made orthogonal together."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    shapes.setdefault(weight.shape, []).append(weight)
            for weights in shapes.values():
                steps = orthogonal(torch.stack([self._momentum(weight) for weight in weights]))
                size = 0.2 * max(weights[0].shape) ** 0.5 * group["lr"]
                for weight, step in zip(weights, steps, strict=True):
                    weight.mul_(1.0 - group["lr"] * group["weight_decay"]).sub_(step, alpha=size)

    def _momentum(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        momentum: Tensor = state["momentum"]
        assert weight.grad is not None
        momentum.lerp_(weight.grad, 1.0 - _MOMENTUM)
        return weight.grad.lerp(momentum, _MOMENTUM)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return for each matrix of a stack (n, rows, columns) one close to U V^T of its U S V^T.

    Singular values come out between about 0.7 and 1.2, which serves as well as 1 (Jordan et al. 2024).
    """
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if matrices.shape[1] <= matrices.shape[2] else x.mT
