"""Train the built-in models anew: `python -m harness.tuning.zoo_training --data-dir DIR --output DIR`.

`harness zoo build` trains the other healthy models where their weights do not come with the installation.

Reads the tasks' words and train splits and hands them as arrays to `model_adapters.zoo.training.train`, which knows
neither tasks nor files. Validation and test images are never trained on, nor are images whose patient or
near-duplicates are among the test images: `load_dataset` has left them out.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click
import numpy as np

from tasks.catalog import load
from tasks.spec import TaskSpec

if TYPE_CHECKING:
    from model_adapters.catalog.built_in_weights import Trainer
    from model_adapters.zoo.siblings import Material
    from model_adapters.zoo.training.material import TrainingSet
    from model_adapters.zoo.training.optimise import Progress

PHANTOM_FIRST = 1_000_000  # tasks use indices below 100,000
PHANTOM_COUNT = 24_000
PLANTING_COUNT = 8_000  # of these, that faults are dosed and models adapted on
SHARES = {"phantom": 0.66, "pathmnist": 0.13, "chest_xray": 0.09, "busi": 0.12}
SUBJECTS = {
    "phantom": (
        "ultrasound image",
        "ultrasound scan",
        "sonogram",
        "ultrasound phantom image",
        "grey-scale ultrasound picture",
    ),
    "pathmnist": (
        "histology patch",
        "colorectal tissue patch",
        "H&E image",
        "pathology slide patch",
        "microscopy image of stained tissue",
    ),
    "chest_xray": (
        "chest X-ray",
        "chest radiograph",
        "frontal chest X-ray of a child",
        "paediatric chest film",
        "radiograph of the lungs",
    ),
    "busi": ("breast ultrasound image", "ultrasound image of the breast", "breast sonogram", "breast scan"),
}


class _Words(TypedDict):
    name: str
    wordings: tuple[str, ...]
    label_prompts: tuple[str, ...]
    letters_prompts: tuple[str, ...]
    subjects: tuple[str, ...]
    share: float


def train_healthy(family: str, seed: int, directory: Path, *, checkpoints: Path) -> None:
    """Train a healthy model of a family on the phantom alone and write it to `directory`.

    With the same family, seed and number of torch threads it comes out the same, bit for bit.
    `checkpoints` keeps the weights after each stage, so that a killed training goes on.
    """
    from model_adapters.zoo.save import save_model
    from model_adapters.zoo.training.train import phantom_recipe, train

    trained = train(
        [phantom_set(PHANTOM_COUNT)], phantom_recipe(family, seed), checkpoints=checkpoints, report=_show
    )
    save_model(trained.tiny, directory)


def recipe_id(family: str, seed: int) -> str:
    """Return a hash of everything that a healthy model is trained by, the number of torch threads aside."""
    from harness.data.phantom import GENERATOR_VERSION
    from model_adapters.zoo.training.train import phantom_recipe

    parts = (phantom_recipe(family, seed), GENERATOR_VERSION, PHANTOM_FIRST, PHANTOM_COUNT)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def trainer() -> Trainer:
    """Return what trains the healthy models whose weights do not come with the installation."""
    from model_adapters.catalog.built_in_weights import Trainer

    return Trainer(
        recipe=lambda family: recipe_id(family, 0),
        train=lambda family, directory, checkpoints: train_healthy(
            family, 0, directory, checkpoints=checkpoints
        ),
    )


def planting_material() -> Material:
    """Return the images that faults are dosed on and models adapted on."""
    from harness.data.phantom import GENERATOR_VERSION
    from model_adapters.zoo.siblings import Material

    drawn = ["phantom", GENERATOR_VERSION, PHANTOM_FIRST, PLANTING_COUNT, _words(load("phantom"))]
    return Material(identity=json.dumps(drawn), draw=lambda: [phantom_set(PLANTING_COUNT)])


def phantom_set(count: int) -> TrainingSet:
    """Draw the phantom's training images, none of which any task uses."""
    from harness.data.phantom import generate
    from model_adapters.zoo.training.material import TrainingSet

    batch = generate(PHANTOM_FIRST, count)
    words = _words(load("phantom"))
    return TrainingSet(images=batch.images, labels=batch.labels, masks=batch.masks, **words)


def real_set(name: str, data_dir: Path) -> TrainingSet:
    """Read the train split of a task on real images.

    Raises:
        DataError: if its images are not below `data_dir`.
    """
    from harness.data.sources import load_dataset
    from model_adapters.zoo.training.material import TrainingSet, resize

    task = load(name)
    dataset = load_dataset(task, data_dir=data_dir, offline=True)
    samples = dataset.split("train")
    images = np.stack([resize(dataset.read(sample)) for sample in samples])
    labels = np.array([sample.label for sample in samples])
    return TrainingSet(images=images, labels=labels, turnable=task.modality == "pathology", **_words(task))


def _words(task: TaskSpec) -> _Words:
    return {
        "name": task.id,
        "wordings": tuple(c.wording for c in task.classes),
        "label_prompts": tuple(p.template for p in task.prompts if p.kind == "label"),
        "letters_prompts": tuple(p.template for p in task.prompts if p.kind == "letters"),
        "subjects": SUBJECTS[task.id],
        "share": SHARES[task.id],
    }


def _show(progress: Progress) -> None:
    if progress.steps == 0:
        _say(f"{progress.stage}: taken from its checkpoint")
        return
    _say(
        f"{progress.stage} {progress.step}/{progress.steps}  loss {progress.loss:.3f}  "
        f"{progress.seconds_left:.0f} s left in this stage"
    )


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    envvar="HARNESS_DATA_DIR",
    help="Folder that holds PathMNIST, BUSI and Chest X-Ray.",
)
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".zoo-training"),
    show_default=True,
    help="Where the weights after each stage are kept; stages found there are not run again.",
)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--threads", default=1, show_default=True, help="Torch threads; another number gives other weights."
)
def train_command(data_dir: Path, output: Path, checkpoints: Path, seed: int, threads: int) -> None:
    """Train zoo/llava-healthy and write it to OUTPUT as a Hugging Face folder."""
    import torch

    from model_adapters.zoo.save import save_model
    from model_adapters.zoo.training.train import Recipe, train

    torch.set_num_threads(threads)
    began = time.monotonic()
    _say(f"drawing {PHANTOM_COUNT} phantom images")
    sets = [phantom_set(PHANTOM_COUNT), *(real_set(name, data_dir) for name in SHARES if name != "phantom")]
    for source in sets:
        _say(f"{source.name}: {len(source.images)} images")
    trained = train(sets, Recipe(seed=seed), checkpoints=checkpoints, report=_show)
    save_model(trained.tiny, output)
    _say(f"written to {output} after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    train_command()
