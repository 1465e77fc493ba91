"""Two halves of a task's training images: one to fine-tune on, one to fit probes on.

A probe that is fitted on images that the model was tuned on sees features as they are only there. The halves
hold whole groups, so that no patient and no near-duplicate is in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from harness.data.dataset import DataError, Dataset, Sample
from harness.data.splits import cap_train, halve
from leaderboard.record.parts import TuningPart
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.tuned import TunedImages, TunedModel, tuned_by
from tasks.files import json_hash

ALL = 2**31  # more training images than any task has: the halves are those of the whole split


@dataclass(frozen=True)
class Halves:
    """Disjoint halves of a training split, by group and stratified by class, each in the split's order."""

    tuning: tuple[Sample, ...] = field(repr=False)
    probing: tuple[Sample, ...] = field(repr=False)


def tuning_halves(dataset: Dataset) -> Halves:
    """Halve the training images of a data set; load it without a cap (`max_train=ALL`) to halve them all.

    The task's seed decides, so that every model and every machine has the same halves.
    """
    tuning, probing = halve(dataset.split("train"), f"{dataset.task.seed}:tuning")
    return Halves(tuple(tuning), tuple(probing))


def without_tuned_images(dataset: Dataset, card: ModelCard, max_train: int | None) -> Dataset:
    """Leave only such training images as probes of a model may see, `max_train` of them at most.

    `dataset` is loaded without a cap (`max_train=ALL`). What a model may have been tuned on here is left out,
    whatever the task, unless a class would lose its last training image: then all stay, and the record says
    that they overlap. A model that was not tuned learns from the same half as its tuned sibling.

    Raises:
        DataError: that half lacks a class.
    """
    tuned, task = tuned_by(card), dataset.task
    if tuned is None:
        half = {(s.split, s.id) for s in tuning_halves(dataset).probing}
        left = tuple(s for s in dataset.samples if s.split != "train" or (s.split, s.id) in half)
        if _classes(left) != _classes(dataset.samples):
            raise DataError(
                f"{task.id}: its training images cannot be halved by group: a class would be lost"
            )
    else:
        known = _Known(tuned.tuning_half)
        left = tuple(s for s in dataset.samples if s.split != "train" or not known.has(s))
    if _classes(left) == _classes(dataset.samples):
        dataset = replace(dataset, samples=left)
    size = task.max_train if max_train is None else max_train
    samples, report = cap_train(dataset.samples, size, task.seed, dataset.report)
    return replace(dataset, samples=samples, report=report)


def tuning_part(tuned: TunedModel | None, dataset: Dataset) -> TuningPart | None:
    """Return what a record says of the tuning; `dataset` is that of the run."""
    if tuned is None:
        return None
    known = _Known(tuned.tuning_half)
    shared = sum(map(known.has, dataset.split("train")))
    return TuningPart(
        task=tuned.task,
        task_version=tuned.task_version,
        part=tuned.settings["part"],
        base_revision=tuned.base_revision,
        settings=tuned.settings_id,
        n_tuning=tuned.tuning_half.used,
        steps=tuned.steps,
        kept=tuned.kept,
        disjoint=shared == 0,
        n_shared=shared,
        n_test_shared=sum(map(known.has, dataset.split("test"))),
    )


def tuned_images(half: Sequence[Sample], used: int) -> TunedImages:
    """Return what a tuned folder says of the images that tuning may use."""
    lines = [[s.id, s.label, s.group, s.pixel_hash] for s in half]
    return TunedImages(
        hash=json_hash(lines)[:16],
        used=used,
        ids=tuple(s.id for s in half),
        groups=tuple(sorted({s.group for s in half})),
        pixel_hashes=tuple(sorted({s.pixel_hash for s in half})),
    )


class _Known:
    """Tells which images a model may have been tuned on, or on others of their groups."""

    def __init__(self, images: TunedImages) -> None:
        self._groups, self._pixels = set(images.groups), set(images.pixel_hashes)

    def has(self, sample: Sample) -> bool:
        return sample.group in self._groups or sample.pixel_hash in self._pixels


def _classes(samples: Sequence[Sample]) -> set[int]:
    return {s.label for s in samples if s.split == "train"}
