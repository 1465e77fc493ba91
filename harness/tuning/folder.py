"""A tuned folder while it is made: who may write there, whether it is finished, and what goes into it, last of all
what it says of itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import yaml

from harness.data.dataset import Dataset, Sample
from harness.plan.configuration import package_version
from harness.plan.tuning_halves import tuned_images
from harness.tuning.options import FinetuneOptions
from model_adapters.catalog.built_in import CARD
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.tuned import (
    ADAPTER,
    ADAPTER_CONFIGURATION,
    FULL,
    HEAD,
    TUNED,
    TunedModel,
    read_tuned,
)
from model_adapters.interface import ModelError
from tasks.files import write_atomically
from tasks.questions import label_question

if TYPE_CHECKING:
    from model_adapters.finetune.lora import Attached
    from model_adapters.finetune.training import Objective, Tuned

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers", "pillow", "numpy")


@dataclass(frozen=True)
class TuningImages:
    """The images of a tuning: the half that it may use, those it uses, and those that choose."""

    half: tuple[Sample, ...]
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]


def finished(options: FinetuneOptions, key: str) -> TunedModel | None:
    """Return what a finished folder says of itself; with `overwrite`, empty one of another tuning first."""
    from model_adapters.finetune.checkpoints import Checkpoints

    folder = options.output
    if (folder / "config.json").exists():
        raise ModelError(f"{folder}: holds a model; choose another --output")
    if options.overwrite:
        for name in (
            TUNED,
            ADAPTER,
            ADAPTER_CONFIGURATION,
            FULL,
            HEAD,
            CARD,
        ):  # the mark of a whole one first
            (folder / name).unlink(missing_ok=True)
        Checkpoints(folder, key).remove()
        return None
    found = read_tuned(folder)
    if found is not None and found.key != key:
        raise ModelError(
            f"{folder}: holds another tuning ({found.base} on {found.task}; settings, images, base or library "
            "versions differ); choose another --output, or replace it with --overwrite"
        )
    return found


def about_tuning(
    options: FinetuneOptions,
    dataset: Dataset,
    images: TuningImages,
    base: str,
    key: str,
    objective: Objective,
    tuned: Tuned,
    dtype: str,
) -> TunedModel:
    """Return what a tuned folder says of itself."""
    from model_adapters.finetune.lora import count

    return TunedModel(
        key=key,
        base=options.card.name,
        base_revision=base,
        task=dataset.task.id,
        task_version=dataset.task.version,
        dataset_fingerprint=dataset.fingerprint,
        labels=label_question(dataset.task, dataset.task.primary).labels,
        settings=asdict(options.settings),
        settings_id=options.settings.id,
        tuning_half=tuned_images(images.half, len(images.train)),
        validation_images=len(images.validation),
        trained_parameters=count(objective.parameters.values()),
        steps=tuned.steps,
        kept=tuned.kept,
        looks=tuned.looks,
        dtype=dtype,
        packages={name: found for name in _PACKAGES if (found := package_version(name)) is not None},
    )


def write_tuned(options: FinetuneOptions, attached: Attached, tuned: Tuned, about: TunedModel) -> None:
    """Write weights and card, then what the folder says of itself: with that it is finished.

    The card is the base model's with `adapter` in it; a hub model's revision is pinned. That of a vision encoder
    with a head has a name and an engine of its own, since what it answers with is no language model.
    """
    from model_adapters.finetune.lora import save_tuned

    folder, vision = options.output, options.settings.part == "vision"
    weights = dict(tuned.weights)
    if vision:
        from model_adapters.finetune.vision_head import HEAD_NAMES, save_head

        folder.mkdir(parents=True, exist_ok=True)
        save_head(folder, {name: weights.pop(name) for name in HEAD_NAMES}, about.labels)
    save_tuned(folder, attached, weights)
    content = options.card.model_dump(mode="json", exclude_defaults=True) | {"adapter": "."}
    if options.card.hub_id is not None:
        content["revision"] = about.base_revision
    if vision:
        content |= {"name": f"{options.card.name}-vision-head", "engine": "vision_head"}
    ordered = {name: content[name] for name in ModelCard.model_fields if name in content}
    write_atomically(folder / CARD, yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True))
    write_atomically(folder / TUNED, about.model_dump_json(indent=2) + "\n")
