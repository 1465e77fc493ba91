"""The faults of `model_adapters.zoo.faults`, as the bench's cases and its model folders need them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from model_adapters.catalog.faults import FAULTS, TARGETS, Degree
from tools.faultbench.cases import Case, FaultKind

if TYPE_CHECKING:
    from model_adapters.zoo.faults.subject import Subject
    from model_adapters.zoo.training.material import TrainingSet

_DRAWN = 8_000  # phantom images of the training material that faults are dosed and models adapted on
_MILD_TARGETS = (6.0, 7.5, 9.0)  # points, one a seed: mild is 5 to 10, and dosing misses by one or two


def fault_kinds() -> tuple[FaultKind, ...]:
    """Return every fault that can be planted."""
    return tuple(
        FaultKind(fault.name, fault.expected, fault.degrees, adapted=fault.adapted)
        for fault in FAULTS.values()
    )


def target_drop(case: Case) -> float:
    """Return the points that a case's answers are to fall by, where its fault can be dosed."""
    if case.severity == "mild":
        return _MILD_TARGETS[case.seed % len(_MILD_TARGETS)]
    return TARGETS["strong"]


def plant_fault(case: Case, healthy: Path, directory: Path) -> None:
    """Write the healthy model with a case's fault planted to `directory`."""
    from model_adapters.zoo.faults.plant import plant
    from model_adapters.zoo.save import save_model

    degree: Degree = "mild" if case.severity == "mild" else "strong"
    planted = plant(_subject(healthy), case.kind, degree, target=target_drop(case), seed=case.seed)
    save_model(planted.tiny, directory)


@lru_cache(maxsize=9)
def _subject(healthy: Path) -> Subject:
    """Measure a healthy model once a worker process."""
    from model_adapters.zoo.faults.subject import make_subject
    from model_adapters.zoo.stored import open_model

    return make_subject(open_model(healthy), [_material()])


@lru_cache(maxsize=1)
def _material() -> TrainingSet:
    """Draw the images once a worker process."""
    from harness.tuning.zoo_build import phantom_set

    return phantom_set(_DRAWN)
