"""Carry out `harness zoo build`: the healthy models first, then their siblings with one planted fault each."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.console import Console
from harness.tuning.zoo_training import planting_material, trainer
from model_adapters.catalog.built_in import FAULTS_GROUP, Selection, Sibling, default_folder
from model_adapters.catalog.built_in_weights import build_one, is_there
from model_adapters.interface import ModelError
from tasks.files import alone

if TYPE_CHECKING:
    from model_adapters.zoo.faults.plant import Planted

# Seconds on a quiet core: what is said at first, and how the time since then is shared out later.
_SECONDS: Mapping[str, float] = {
    "weak_vision": 30,
    "weak_vision_unadapted": 25,
    "wrong_layer": 45,
    "lossy_connector": 15,
    "lossy_connector_unadapted": 10,
    "erased": 6,
}
_OTHER_SECONDS = 2.0  # of faults in the head and the like
_MEASURING_SECONDS = 20.0  # of a healthy model, before the first of its siblings
_TRAINING_MINUTES = 10

Tell = Callable[[Path], None]


def build_zoo(directory: Path, selection: Selection, console: Console, tell: Tell) -> None:
    """Write what was selected to `directory`, and the healthy models that selected siblings come from.

    What is there from the same recipe is left as it is, so that a killed build goes on. `tell` hears of
    every folder as soon as it is ready.

    Raises:
        ModelError: a folder cannot be written, or another build is writing there.
    """
    import torch

    torch.set_num_threads(1)  # another number gives other weights, in the last bits
    with alone(directory, "`harness zoo build`", ModelError, lock=directory / ".lock"):
        parents = dict.fromkeys([*selection.healthy, *(sibling.healthy for sibling in selection.siblings)])
        healthy = {name: _healthy(name, directory, console) for name in parents}
        for folder in healthy.values():
            tell(folder)
        _make_siblings(directory, selection.siblings, healthy, console, tell)


def _healthy(name: str, directory: Path, console: Console) -> Path:
    trained_by = trainer()
    if not is_there(name, directory, trained_by):
        console.say(
            f"{name}: its weights do not come with this installation; training it, about "
            f"{_TRAINING_MINUTES} minutes on one core"
        )
    return build_one(name, directory, trained_by)


def _make_siblings(
    directory: Path, wanted: Sequence[Sibling], healthy: Mapping[str, Path], console: Console, tell: Tell
) -> None:
    from model_adapters.zoo.siblings import Nursery

    nursery = Nursery(directory, planting_material(), healthy)
    left = nursery.missing(wanted)
    efforts = _efforts(left)
    for sibling in wanted:
        if sibling not in left:
            tell(directory / sibling.folder)
    if left:
        there = f"; {len(wanted) - len(left)} are there already" if len(left) < len(wanted) else ""
        console.say(f"{_counted(len(left))} to make, {spoken_time(sum(efforts))} on a quiet core{there}")
    began = time.monotonic()
    for number, sibling in enumerate(left, start=1):
        planted = nursery.make(sibling)
        seconds_left = (time.monotonic() - began) / sum(efforts[:number]) * sum(efforts[number:])
        console.say(f"{number} of {len(left)}: {_effect(sibling, planted)}{_remaining(seconds_left)}")
        tell(directory / sibling.folder)
    if left:
        console.say(f"evaluate them with: {_evaluation(directory)}")


def _evaluation(directory: Path) -> str:
    command = f"harness eval --tasks phantom --models {FAULTS_GROUP}"
    if directory.resolve() == default_folder().resolve():
        return command
    return f"HARNESS_ZOO_DIR={shlex.quote(str(directory))} {command}"


def _efforts(left: Sequence[Sibling]) -> list[float]:
    """Return how many seconds each may take, that of measuring its healthy model counted with the first."""
    first = {sibling.healthy: sibling for sibling in reversed(left)}
    return [
        _SECONDS.get(sibling.fault, _OTHER_SECONDS)
        + (_MEASURING_SECONDS if first[sibling.healthy] is sibling else 0.0)
        for sibling in left
    ]


def _counted(count: int) -> str:
    return f"{count} model{'' if count == 1 else 's'} with a fault"


def _effect(sibling: Sibling, planted: Planted) -> str:
    return (
        f"{sibling.name}: answers {planted.healthy:.0f} -> {planted.healthy - planted.drop:.0f}% "
        f"({planted.severity:.3g} {planted.unit})"
    )


def _remaining(seconds: float) -> str:
    return f"; {spoken_time(seconds)} left" if seconds > 0 else ""


def spoken_time(seconds: float) -> str:
    """Say a length of time roughly, for example "about 40 s" or "about 12 min"."""
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"
