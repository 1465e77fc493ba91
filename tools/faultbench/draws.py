"""The tasks of the bench: fresh generated images, asked about with the primary prompt alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from tasks.catalog import load
from tasks.files import replacing, write_atomically
from tasks.sources import SPLITS, PhantomSource
from tasks.spec import TaskSpec
from tools.faultbench.cases import Draw

_SHUFFLE_SEED = 20_260_408


def write_task(draw: Draw, folder: Path, *, owner: str, answers: Mapping[str, int] | None = None) -> Path:
    """Write a draw's task file, and its images where their labels are not the generator's own.

    The file is a task like any other: `harness eval --tasks FILE --data-dir FOLDER` reads it.

    Args:
        draw: the images.
        folder: gets the task file, and the images.
        owner: the healthy model; only "answers" labels depend on it.
        answers: for "answers" labels, the model's answer (class index) by image id.
    """
    name = f"bench-{draw.number:02d}-{draw.train}-{draw.val}-{draw.test}"
    if draw.labels == "true":
        source = {
            "fingerprint": None,
            "splits": {
                split: {"first": first, "count": count} for split, (first, count) in draw.ranges().items()
            },
        }
        return _write(folder, name, {"source": source}, bases=["phantom"])
    name += f"-{draw.labels}"
    if draw.labels == "answers":
        # Other answers are other labels, so they get another file.
        name += f"-{_unique(owner, answers or {})}"
    _write_images(draw, folder / f"{name}.npz", answers)
    phantom = load("phantom")
    return _write(
        folder,
        name,
        {
            "title": f"Ultrasound phantom, {draw.labels} labels",
            "modality": phantom.modality,
            "description": phantom.description,
            "classes": [spec.model_dump(mode="json") for spec in phantom.classes],
            "prompts": [prompt.model_dump(mode="json") for prompt in phantom.prompts],
            "primary_prompt": phantom.primary_prompt,
            "licence": phantom.licence,
            "redistribute_pixels": phantom.redistribute_pixels,
            "citation": phantom.citation,
            "source": {
                "layout": "npz",
                "file": f"{name}.npz",
                "splits": {
                    split: {"images": f"{split}_images", "labels": f"{split}_labels"} for split in SPLITS
                },
            },
        },
        bases=["_base"],
    )


def primary_only(task: TaskSpec) -> TaskSpec:
    """Return the task without its paraphrases and option letters.

    A verdict rests on the primary prompt alone; the other questions would take most of the bench's time.
    """
    return task.model_copy(update={"prompts": (task.primary,)})


def _write(folder: Path, name: str, content: Mapping[str, object], *, bases: list[str]) -> Path:
    path = folder / f"{name}.yaml"
    text = yaml.safe_dump({"extends": bases, "id": name, **content}, sort_keys=False, allow_unicode=True)
    write_atomically(path, text)  # another worker may be reading it
    return path


def _write_images(draw: Draw, path: Path, answers: Mapping[str, int] | None) -> None:
    from harness.data.phantom import generate

    if path.exists():
        return
    size = _image_size()
    drawn = {split: generate(first, count, size=size) for split, (first, count) in draw.ranges().items()}
    labels = {split: batch.labels for split, batch in drawn.items()}
    if draw.labels == "shuffled":
        # Dealt over all splits at once, so that no split knows of another.
        dealt = np.random.default_rng([_SHUFFLE_SEED, draw.number]).permutation(
            np.concatenate([labels[split] for split in SPLITS])
        )
        ends = np.cumsum([len(labels[split]) for split in SPLITS])
        labels = dict(zip(SPLITS, np.split(dealt, ends[:-1]), strict=True))
    elif draw.labels == "answers":
        assert answers is not None, "the healthy model's answers come first"
        labels = {
            split: np.array([answers[f"{split}/{i:06d}"] for i in range(len(known))])
            for split, known in labels.items()
        }
    arrays = {f"{split}_images": drawn[split].images for split in SPLITS}
    arrays |= {f"{split}_labels": labels[split].astype(np.int64) for split in SPLITS}
    with replacing(path) as part, part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _image_size() -> int:
    source = load("phantom").source
    assert isinstance(source, PhantomSource)
    return source.size


def _unique(owner: str, answers: Mapping[str, int]) -> str:
    text = owner + "".join(f"{key}{answers[key]}" for key in sorted(answers))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
