"""The one training loop: Muon for the weight matrices of blocks, AdamW for the rest, one schedule."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from model_adapters.zoo.training.muon import Muon

_REPORT_EVERY = 50


@dataclass(frozen=True)
class StageSettings:
    """Length and strength of one stage."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.05


@dataclass(frozen=True)
class Progress:
    """Where a stage stands: `loss` is the mean since the last report, `seconds_left` an extrapolation."""

    stage: str
    step: int
    steps: int
    loss: float
    seconds_left: float


Report = Callable[[Progress], None]


def run(
    stage: str,
    step: Callable[[], Tensor],
    modules: Sequence[nn.Module],
    settings: StageSettings,
    report: Report,
) -> list[float]:
    """Lower what `step` returns by changing the weights of `modules`; return the loss of every step."""
    weights = [weight for module in modules for weight in module.parameters()]
    optimisers = _optimisers(modules, weights, settings)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda done: _factor(done, settings.steps)) for o in optimisers
    ]
    losses: list[float] = []
    began = time.monotonic()
    for number in range(1, settings.steps + 1):
        loss = step()
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
        losses.append(loss.item())
        if number % _REPORT_EVERY == 0 or number == settings.steps:
            left = (time.monotonic() - began) / number * (settings.steps - number)
            report(Progress(stage, number, settings.steps, float(np.mean(losses[-_REPORT_EVERY:])), left))
    return losses


def _optimisers(
    modules: Sequence[nn.Module], weights: Sequence[Tensor], settings: StageSettings
) -> list[torch.optim.Optimizer]:
    """Muon takes the matrices of repeated blocks: it learns about twice as fast per step as AdamW alone."""
    blocks = [
        block
        for module in modules
        for listed in module.modules()
        if isinstance(listed, nn.ModuleList)
        for block in listed
    ]
    matrices = {id(w): w for block in blocks for w in block.parameters() if w.ndim == 2}
    rest = [weight for weight in weights if id(weight) not in matrices]
    groups = [
        {"params": [w for w in rest if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in rest if w.ndim <= 1], "weight_decay": 0.0},
    ]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=settings.learning_rate, betas=(0.9, 0.98)
        )
    ]
    if matrices:
        optimisers.append(
            Muon(list(matrices.values()), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        )
    return optimisers


def _factor(done: int, steps: int) -> float:
    """Warm-up over the first 5%, then a cosine to 1% of the learning rate."""
    warm = max(1, round(0.05 * steps))
    if done < warm:
        return (done + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * (done - warm) / max(1, steps - warm)))
