"""Muon in float32 against the library's own in bfloat16, and against the singular value decomposition."""

from __future__ import annotations

import pytest
import torch

from model_adapters.zoo.training.muon import Muon, orthogonal

SHAPES = [(24, 24), (24, 24), (60, 24), (24, 60)]


def test_steps_are_those_of_torch() -> None:
    reference = getattr(torch.optim, "Muon", None)
    if reference is None:
        pytest.skip("this torch has no Muon")
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in SHAPES]
    ours, theirs = ([torch.nn.Parameter(w.clone()) for w in start] for _ in range(2))
    optimisers = [
        Muon(ours, lr=0.01, weight_decay=0.05),
        reference(theirs, lr=0.01, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(6):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    for one, other, begin in zip(ours, theirs, start, strict=True):
        moved = (other - begin).norm()
        assert (one - other).norm() < 0.03 * moved  # bfloat16 has three digits


@pytest.mark.parametrize("shape", [(30, 30), (20, 50), (50, 20)])
def test_directions_stay_and_singular_values_become_alike(shape: tuple[int, int]) -> None:
    matrix = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    made = orthogonal(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    values = torch.diagonal(left.mT @ made @ right.mT, dim1=1, dim2=2)
    assert ((values > 0.5) & (values < 1.3)).float().mean() > 0.9
    assert torch.allclose(left @ torch.diag_embed(values) @ right, made, atol=1e-3)
