"""Carry out `harness zoo build`: the healthy models first, then their siblings with one planted fault each.

Faults are dosed, and models adapted, on phantom images that no task uses.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.console import Console
from model_adapters.catalog.built_in import FAULTS_GROUP, Selection, Sibling, default_folder
from model_adapters.catalog.built_in_weights import build_one
from model_adapters.interface import ModelError
from tasks.catalog import load
from tasks.files import alone
from tasks.spec import TaskSpec

if TYPE_CHECKING:
    from model_adapters.zoo.faults.plant import Planted
    from model_adapters.zoo.siblings import Material
    from model_adapters.zoo.training.material import TrainingSet

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

PHANTOM_FIRST = 1_000_000  # tasks use indices below 100,000
PLANTING_COUNT = 8_000
_SUBJECTS = (
    "ultrasound image",
    "ultrasound scan",
    "sonogram",
    "ultrasound phantom image",
    "grey-scale ultrasound picture",
)
_SHARE = 0.66  # of the images on which the largest of the healthy models was trained

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
        healthy = {name: build_one(name, directory) for name in parents}
        for folder in healthy.values():
            tell(folder)
        _make_siblings(directory, selection.siblings, healthy, console, tell)


def planting_material() -> Material:
    """Return the images that faults are dosed on and models adapted on."""
    from harness.data.phantom import GENERATOR_VERSION
    from model_adapters.zoo.siblings import Material

    words = task_words(load("phantom"), _SUBJECTS, _SHARE)
    drawn = ["phantom", GENERATOR_VERSION, PHANTOM_FIRST, PLANTING_COUNT, words]
    return Material(identity=json.dumps(drawn), draw=lambda: [phantom_set(PLANTING_COUNT)])


def phantom_set(count: int) -> TrainingSet:
    """Draw the phantom's training images, none of which any task uses."""
    from harness.data.phantom import generate
    from model_adapters.zoo.training.material import TrainingSet

    batch = generate(PHANTOM_FIRST, count)
    words = task_words(load("phantom"), _SUBJECTS, _SHARE)
    return TrainingSet(images=batch.images, labels=batch.labels, masks=batch.masks, **words)


def task_words(task: TaskSpec, subjects: tuple[str, ...], share: float) -> dict[str, Any]:
    """Return what `TrainingSet` holds of a task's words; `subjects` and `share` as there."""
    return {
        "name": task.id,
        "wordings": tuple(c.wording for c in task.classes),
        "label_prompts": tuple(p.template for p in task.prompts if p.kind == "label"),
        "letters_prompts": tuple(p.template for p in task.prompts if p.kind == "letters"),
        "subjects": subjects,
        "share": share,
    }


def _make_siblings(
    directory: Path, wanted: Sequence[Sibling], healthy: Mapping[str, Path], console: Console, tell: Tell
) -> None:
    from model_adapters.zoo.siblings import SiblingBuilder

    builder = SiblingBuilder(directory, planting_material(), healthy)
    left = builder.missing(wanted)
    efforts = _efforts(left)
    for sibling in wanted:
        if sibling not in left:
            tell(directory / sibling.folder)
    if left:
        there = f"; {len(wanted) - len(left)} are there already" if len(left) < len(wanted) else ""
        console.say(f"{_counted(len(left))} to make, {spoken_time(sum(efforts))} on a quiet core{there}")
    began = time.monotonic()
    for number, sibling in enumerate(left, start=1):
        planted = builder.make(sibling)
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
