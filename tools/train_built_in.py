"""Train a healthy built-in model anew: `python tools/train_built_in.py --data-dir DIR --output DIR`.

LLaVA reads the words and train splits of four tasks, the smaller families know the phantom alone. Validation
and test images are never trained on, nor are images whose patient or near-duplicates are among the test
images: `load_dataset` has left them out.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the repository, for tools.zoo

from harness.tuning.zoo_build import PHANTOM_FIRST, phantom_set, task_words

if TYPE_CHECKING:
    from model_adapters.zoo.training.material import TrainingSet
    from model_adapters.zoo.training.optimise import Progress

PHANTOM_COUNT = 24_000
# Tasks on real images: their share of every batch (the phantom has 0.66), and phrases for what the images are.
REAL: dict[str, tuple[float, tuple[str, ...]]] = {
    "pathmnist": (
        0.13,
        (
            "histology patch",
            "colorectal tissue patch",
            "H&E image",
            "pathology slide patch",
            "microscopy image of stained tissue",
        ),
    ),
    "chest_xray": (
        0.09,
        (
            "chest X-ray",
            "chest radiograph",
            "frontal chest X-ray of a child",
            "paediatric chest film",
            "radiograph of the lungs",
        ),
    ),
    "busi": (
        0.12,
        ("breast ultrasound image", "ultrasound image of the breast", "breast sonogram", "breast scan"),
    ),
}


def train_healthy(family: str, seed: int, directory: Path, *, checkpoints: Path) -> None:
    """Train a healthy model of a family on the phantom alone and write it to `directory`.

    With the same family, seed and number of torch threads it comes out the same, bit for bit.
    `checkpoints` keeps the weights after each stage, so that a killed training goes on.
    """
    from model_adapters.zoo.save import save_model
    from tools.zoo.train import phantom_recipe, train

    recipe = phantom_recipe(family, seed)
    trained = train([phantom_set(PHANTOM_COUNT)], recipe, checkpoints=checkpoints, report=_show)
    save_model(trained.tiny, directory)


def recipe_id(family: str, seed: int) -> str:
    """Return a hash of everything that such a model is trained by, the number of torch threads aside."""
    from harness.data.phantom import GENERATOR_VERSION
    from tools.zoo.train import phantom_recipe

    parts = (phantom_recipe(family, seed), GENERATOR_VERSION, PHANTOM_FIRST, PHANTOM_COUNT)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def real_set(name: str, data_dir: Path) -> TrainingSet:
    """Read the train split of a task on real images.

    Raises:
        DataError: if its images are not below `data_dir`.
    """
    from harness.data.sources import load_dataset
    from model_adapters.zoo.training.material import TrainingSet
    from tasks.catalog import load
    from tools.zoo.images import resize

    task = load(name)
    dataset = load_dataset(task, data_dir=data_dir, offline=True)
    samples = dataset.split("train")
    images = np.stack([resize(dataset.read(sample)) for sample in samples])
    labels = np.array([sample.label for sample in samples])
    share, subjects = REAL[name]
    words = task_words(task, subjects, share)
    return TrainingSet(images=images, labels=labels, turnable=task.modality == "pathology", **words)


def train_llava(seed: int, data_dir: Path, directory: Path, *, checkpoints: Path) -> None:
    """Train the LLaVA, which has seen real images too, and write it to `directory`."""
    from model_adapters.zoo.save import save_model
    from tools.zoo.train import Recipe, train

    _say(f"drawing {PHANTOM_COUNT} phantom images")
    sets = [phantom_set(PHANTOM_COUNT), *(real_set(name, data_dir) for name in REAL)]
    for source in sets:
        _say(f"{source.name}: {len(source.images)} images")
    trained = train(sets, Recipe(seed=seed), checkpoints=checkpoints, report=_show)
    save_model(trained.tiny, directory)


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
    "--family", type=click.Choice(["llava", "qwen2.5-vl", "gemma3"]), default="llava", show_default=True
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    envvar="HARNESS_DATA_DIR",
    help="Folder that holds PathMNIST, BUSI and Chest X-Ray, which LLaVA is trained on too.",
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
def main(
    family: str, data_dir: Path | None, output: Path, checkpoints: Path, seed: int, threads: int
) -> None:
    """Train the healthy built-in model of a family and write it to OUTPUT as a Hugging Face folder."""
    import torch

    if family == "llava" and data_dir is None:
        raise click.UsageError("LLaVA is trained on real images too: name their folder with --data-dir")
    torch.set_num_threads(threads)
    began = time.monotonic()
    if family == "llava" and data_dir is not None:
        train_llava(seed, data_dir, output, checkpoints=checkpoints)
    else:
        train_healthy(family, seed, output, checkpoints=checkpoints)
    _say(f"written to {output} after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
