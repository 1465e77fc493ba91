"""The engine of a tuned vision encoder: its linear head names the class; no prompt is read, nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.tuned import adapter_folder
from model_adapters.engines.transformers import engine
from model_adapters.finetune.vision_head import head_scores, pooled_vision, read_head
from model_adapters.interface import Generation, LabelScores, LoadOptions, ModelError, Observation, Query
from model_adapters.support.batching import AUTO_CPU, AUTO_GPU, Batcher, Failure, parse_batch_size
from model_adapters.support.class_answers import ABILITIES, class_scores, no_text
from probes.sites import Site

# Raised when this engine's answers may change for the same weights and library versions.
ADAPTER_VERSION = 1


def load(card: ModelCard, options: LoadOptions) -> VisionHeadEngine:
    """Load the base model with its tuned vision encoder, and the head; see `registry.load_engine`.

    Raises:
        ModelError: the card names no folder with a head, or the model cannot be loaded.
    """
    if card.adapter is None:
        raise ModelError(
            f"{card.name}: the engine vision_head needs an adapter; see `harness finetune --part`"
        )
    inner = engine.load(card, options)
    return VisionHeadEngine(card, inner, parse_batch_size(options.batch_size))


class VisionHeadEngine:
    """A tuned vision encoder with its head. Satisfies `interface.Engine`; none of its layers is watched."""

    def __init__(self, card: ModelCard, inner: engine.TransformersEngine, batch_size: int | None) -> None:
        self._inner = inner
        weight, bias, labels = read_head(adapter_folder(card), card.name)
        self._device = torch.device(inner.description.device)
        self._weight, self._bias = weight.to(self._device), bias.to(self._device)
        self._classes = {label: place for place, label in enumerate(labels)}
        size = batch_size or (AUTO_CPU if self._device.type == "cpu" else AUTO_GPU)
        self._batcher: Batcher[Query, LabelScores] = Batcher(min(size, inner.largest_batch))
        self.description = replace(
            inner.description,
            engine="vision_head",
            abilities=ABILITIES,
            fingerprint={**inner.description.fingerprint, "vision_head": ADAPTER_VERSION},
        )

    @property
    def sites(self) -> tuple[Site, ...]:
        """Nothing is watched: behind a tuned encoder the connector and the language model mean nothing."""
        return ()

    def score(self, queries: Sequence[Query], *, observe: bool = False) -> Observation:
        """Give every label the log-probability of the class that it stands for; an unknown one is an error."""
        with torch.inference_mode():
            results = self._batcher.run(list(queries), self._scores)
        scores = [LabelScores((), (), r.reason) if isinstance(r, Failure) else r for r in results]
        return Observation(tuple(scores))

    def _scores(self, queries: Sequence[Query]) -> list[LabelScores]:
        features = pooled_vision(self._inner, queries)
        rows = head_scores(features, self._weight, self._bias).double().log_softmax(1).tolist()
        return [
            class_scores(query.labels, self._classes, row) for query, row in zip(queries, rows, strict=True)
        ]

    def generate(self, queries: Sequence[Query], *, max_new_tokens: int) -> tuple[Generation, ...]:
        """Write nothing: a head has no words."""
        return no_text(queries, "a vision head")

    def close(self) -> None:
        """Free the model's memory."""
        self._inner.close()
