"""The models of the bench, as ordinary model folders: healthy ones are kept, faulty ones made when needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tasks.files import locked
from tools.faultbench.cases import Case


def healthy_model(family: str, seed: int, folder: Path) -> Path:
    """Return the folder of a healthy model, trained first where it is not there yet.

    Two workers that want the same one train it once; a killed training goes on from its last stage.
    """
    from harness.tuning.zoo_training import train_healthy

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
    from tools.faultbench.planting import plant_fault

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
