"""Tune a model's vision encoder alone, by a linear head on the mean token of the layer that the connector reads.

That is what the paper holds against traditional classifiers: neither connector nor language model takes part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_adapters.catalog.tuned import HEAD
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.finetune.language import TuningTask
from model_adapters.finetune.lora import Attached, set_training
from model_adapters.finetune.settings import TuningSettings
from model_adapters.interface import ModelError, Query
from model_adapters.support.batching import UnreadableItemError
from probes.capture import output_tensor, pool_images
from tasks.files import replacing

HEAD_NAMES = ("vision_head.weight", "vision_head.bias")  # among the trained parameters
_AT_ONCE = 16


class _LayerReachedError(Exception):
    """The layer that the connector reads is done; nothing after it has run."""


def pooled_vision(engine: TransformersEngine, queries: Sequence[Query]) -> Tensor:
    """Return the mean token of the layer that the connector reads, float32 (queries, width), with its gradient.

    Raises:
        ModelError: the processor refuses an image, or the forward pass never reaches the layer.
    """
    try:
        batch = engine._prepare(queries)
    except UnreadableItemError as error:
        raise ModelError(f"{engine.card.name}: {error}; leave the image out of the task") from error
    anatomy, found = engine.anatomy, []

    def take(_module: nn.Module, _inputs: Any, output: Any) -> None:
        states = output_tensor(output, "the layer that the connector reads")
        found.append(pool_images(states, batch.images.units, drop_first=batch.images.drop_first))
        raise _LayerReachedError

    handle = anatomy.vision_blocks[anatomy.consumed_layer].register_forward_hook(take)
    try:
        engine._model(**batch.inputs, use_cache=False)
    except _LayerReachedError:
        return found[0]
    finally:
        handle.remove()
    raise ModelError(f"{engine.card.name}: the forward pass ended without its vision encoder")


def head_scores(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return class scores (images, classes) of pooled features; each image's are standardised first."""
    standard = functional.layer_norm(features.float(), features.shape[-1:])
    with torch.autocast(features.device.type, enabled=False):
        return functional.linear(standard, weight, bias)


class VisionObjective:
    """The class of an image. Satisfies `training.Objective`."""

    def __init__(
        self, engine: TransformersEngine, attached: Attached, task: TuningTask, settings: TuningSettings
    ) -> None:
        self._engine, self._task, self._settings = engine, task, settings
        self.images = len(task.images.train)
        self.title = engine.card.name
        self.device = torch.device(engine.description.device)
        self.dtype = engine.description.dtype
        width = next(s.width for s in engine.sites if s.consumed and s.pool == "mean")
        classes = len(task.images.labels)
        # From zeros: a random head may by chance be one that the encoder was once trained with.
        self._weight = nn.Parameter(torch.zeros(classes, width, device=self.device))
        self._bias = nn.Parameter(torch.zeros(classes, device=self.device))
        head: dict[str, nn.Parameter] = dict(zip(HEAD_NAMES, (self._weight, self._bias), strict=True))
        self.parameters: dict[str, nn.Parameter] = {**attached.parameters, **head}

    def train_mode(self, training: bool) -> None:
        """Turn dropout on, or off."""
        set_training(self._engine, self._settings, training)

    def weight(self, chosen: Sequence[int]) -> int:
        """Return the number of images."""
        return len(chosen)

    def loss(self, chosen: Sequence[int]) -> Tensor:
        """Return the summed cross-entropy of some training images."""
        train = self._task.images.train
        features = pooled_vision(self._engine, [self._task.query(train, i, "train") for i in chosen])
        wanted = torch.from_numpy(train.labels[list(chosen)]).long().to(features.device)
        scores = head_scores(features, self._weight, self._bias)
        return functional.cross_entropy(scores, wanted, reduction="sum")

    @torch.no_grad()
    def validate(self, interrupted: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the validation images' class scores."""
        validation, rows = self._task.images.validation, []
        for first in range(0, len(validation), _AT_ONCE):
            if interrupted():
                return None
            chosen = range(first, min(first + _AT_ONCE, len(validation)))
            features = pooled_vision(
                self._engine, [self._task.query(validation, i, "validation") for i in chosen]
            )
            rows.append(head_scores(features, self._weight, self._bias).cpu().numpy())
        return np.concatenate(rows), validation.labels


def save_head(folder: Path, weights: dict[str, Tensor], labels: Sequence[str]) -> None:
    """Write the head, with the words that stand for its classes."""
    from safetensors.torch import save_file

    kept = {name: weights[name].contiguous() for name in HEAD_NAMES}
    with replacing(folder / HEAD, exclusive=True) as part:
        save_file(kept, part, metadata={"labels": json.dumps(list(labels))})


def read_head(folder: Path, name: str) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return a head's weight (classes, width), bias (classes,) and the words that stand for its classes.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / HEAD, framework="pt") as stored:
            labels = tuple(map(str, json.loads(stored.metadata()["labels"])))
            weight, bias = (stored.get_tensor(key) for key in HEAD_NAMES)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"{name}: {folder / HEAD} cannot be read ({error})") from error
    return weight, bias, labels
