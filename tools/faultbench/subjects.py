"""The models of the bench, as ordinary model folders: healthy ones are kept, faulty ones made when needed.

The faults are those of `model_adapters.zoo.faults`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from model_adapters.catalog.faults import FAULTS, TARGETS, Degree
from tasks.files import locked
from tools.faultbench.cases import Case, FaultKind

if TYPE_CHECKING:
    from model_adapters.zoo.faults.subject import Subject
    from model_adapters.zoo.training.material import TrainingSet

_DRAWN = 8_000  # phantom images of the training material that faults are dosed and models adapted on
_MILD_TARGETS = (6.0, 7.5, 9.0)  # points, one a seed: mild is 5 to 10, and dosing misses by one or two


def healthy_model(family: str, seed: int, folder: Path) -> Path:
    """Return the folder of a healthy model, trained first where it is not there yet.

    Two workers that want the same one train it once; a killed training goes on from its last stage.
    """
    from tools.train_built_in import train_healthy

    checkpoints = folder / "checkpoints"
    target = folder / f"{family}-seed{seed}"

    def train(directory: Path) -> None:
        train_healthy(family, seed, directory, checkpoints=checkpoints)

    with locked(folder / f".{target.name}.lock"):
        _make_once(target, train)
    return target


@contextmanager
def case_model(case: Case, healthy: Path, scratch: Path) -> Iterator[Path]:
    """Give the folder of a case's model: the healthy one itself, or a sibling with the fault planted.

    The sibling is removed at the end.
    """
    if case.role in ("healthy", "trap"):
        yield healthy
        return

    target = scratch / "model"
    try:
        _make_once(target, lambda directory: plant_fault(case, healthy, directory))
        yield target
    finally:
        shutil.rmtree(target, ignore_errors=True)


def write_card(model: Path, name: str, folder: Path) -> Path:
    """Write the card of a model folder: what a person would put there for a built-in model.

    Weights are stored in float16, in which many processors compute slowly, and the answer follows the
    template's last token directly.
    """
    card = {"name": name, "path": str(model.resolve()), "dtype": "float32", "prompt": {"label_prefix": ""}}
    path = folder / "card.yaml"
    path.write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")
    return path


def _make_once(target: Path, make: Callable[[Path], None]) -> None:
    """Make a folder whole or not at all."""
    if (target / "config.json").is_file():
        return
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    make(partial)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)


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
