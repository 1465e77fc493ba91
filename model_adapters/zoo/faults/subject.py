"""A healthy model about to get a fault: with the bench it is measured on, and what it does there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from model_adapters.catalog.faults import Degree
from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.faults.bench import Activations, Bench, make_bench, pass_through, scores
from model_adapters.zoo.training.material import TrainingSet


@dataclass(frozen=True, eq=False)
class Subject:
    """`passed` is one pass of the healthy model over the bench; `answers` its balanced accuracy in points."""

    tiny: TinyModel = field(repr=False)
    bench: Bench = field(repr=False)
    passed: Activations = field(repr=False)
    answers: float


@dataclass(frozen=True)
class FaultRequest:
    """What to plant: answers are to fall by `target` points, noise and choices are drawn from `seed`."""

    degree: Degree
    target: float
    seed: int


@dataclass(frozen=True, eq=False)
class FaultyModel:
    """A model with a fault. `drop` is what its answers lost, in points of balanced accuracy.

    `severity` is in the fault's own unit, which `unit` names.
    """

    tiny: TinyModel = field(repr=False)
    severity: float
    unit: str
    drop: float


def make_subject(tiny: TinyModel, material: Sequence[TrainingSet], *, seed: int = 0) -> Subject:
    """Measure a trained model on images of the first set of its material.

    Faults are dosed, and models adapted, on that set alone.
    """
    bench = make_bench(tiny, material[0], seed=seed)
    passed = pass_through(tiny, bench)
    given = scores(tiny, bench, passed.final)[bench.held_out]
    return Subject(tiny, bench, passed, bench.right(given.argmax(1)))


def generator(order: FaultRequest, number: int) -> torch.Generator:
    """Return a generator of its own for each purpose `number` of an order."""
    return torch.Generator().manual_seed(1_000_003 * order.seed + number)
