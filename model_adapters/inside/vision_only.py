"""Features of the vision layers alone: the forward pass ends where the decoder would begin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.inside.random_vision import random_vision
from model_adapters.interface import Engine, ModelError, Query
from model_adapters.support.batching import AUTO_CPU, Batcher, Failure
from probes.capture import capture


class _DecoderReachedError(Exception):
    """The vision part is done; nothing of the decoder has run."""


def random_vision_features(
    engine: Engine, queries: Sequence[Query], *, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return what the vision layers show with random weights, float32 (queries, width) by `Site.key`.

    Rows of NaN stand for images that the model could not be shown. See `random_vision`.

    Raises:
        ModelError: the engine shows no layers, or its encoder cannot be built anew.
    """
    if not isinstance(engine, TransformersEngine):
        raise ModelError(f"{engine.description.name}: the engine {engine.description.engine} has no weights")
    with random_vision(engine, seed=seed):
        return vision_features(engine, queries)


def vision_features(engine: TransformersEngine, queries: Sequence[Query]) -> dict[str, np.ndarray]:
    """Return what the vision layers show, float32 (queries, width) by `Site.key`, pooled as the engine does.

    Raises:
        ModelError: the forward pass fails, or never reaches the decoder.
    """
    sites = [site for site in engine.sites if site.module == "vision"]

    def forward(indices: Sequence[int]) -> list[Mapping[str, np.ndarray]]:
        return _batch(engine, [queries[index] for index in indices])

    results = engine._in_order(queries, Batcher(min(AUTO_CPU, engine.largest_batch)), forward)
    features = {site.key: np.full((len(queries), site.width), np.nan, np.float32) for site in sites}
    for row, result in enumerate(results):
        if not isinstance(result, Failure):
            for key, block in features.items():
                block[row] = result[key]
    return features


def _batch(engine: TransformersEngine, queries: Sequence[Query]) -> list[Mapping[str, np.ndarray]]:
    batch = engine._prepare(queries)
    vision = [one for one in engine._watched if one.module == "vision"]
    with capture(vision, batch.images, batch.tokens) as features, _stopping(engine.anatomy.decoder_layers[0]):
        try:
            engine._model(**batch.inputs, use_cache=False)
        except _DecoderReachedError:
            arrays = features.arrays()
            return [{key: array[row] for key, array in arrays.items()} for row in range(len(queries))]
    raise ModelError(f"{engine.card.name}: the forward pass ended without its decoder")


@contextmanager
def _stopping(layer: nn.Module) -> Iterator[None]:
    def stop(_module: nn.Module, _inputs: Any) -> None:
        raise _DecoderReachedError

    handle: torch.utils.hooks.RemovableHandle = layer.register_forward_pre_hook(stop)
    try:
        yield
    finally:
        handle.remove()
