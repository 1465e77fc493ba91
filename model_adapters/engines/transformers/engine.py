"""The transformers engine: any image-and-text model, answered and watched in one forward pass."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image

from model_adapters.anatomy.find import Anatomy, find_anatomy
from model_adapters.anatomy.receptive_field import find_merge
from model_adapters.catalog.card import PROMPT_ARGUMENTS, ModelCard, compare_with_card, with_prompt
from model_adapters.engines.transformers.chat import ChatFormat
from model_adapters.engines.transformers.generation import end_tokens, greedy, read_generation
from model_adapters.engines.transformers.inputs import InputPreparer, PreparedBatch, Preparer
from model_adapters.engines.transformers.label_scoring import label_log_likelihoods, prefill
from model_adapters.engines.transformers.load import LoadedModel, load_model
from model_adapters.engines.transformers.processors import settings_of
from model_adapters.interface import (
    Generation,
    LabelScores,
    LoadOptions,
    ModelDescription,
    ModelError,
    Observation,
    Query,
    one_line,
    require_labels,
)
from model_adapters.support.batching import (
    AUTO_CPU,
    AUTO_GPU,
    Batcher,
    Failure,
    is_out_of_memory,
    parse_batch_size,
)
from model_adapters.support.label_tokens import Tokens
from probes.capture import CaptureError, Merge, PooledFeatures, Watched, capture
from probes.sites import Module, Site

# Raised when this engine's answers or features may change for the same model and library versions.
ADAPTER_VERSION = 2

_GREY = Query("grey", Image.new("RGB", (96, 64), (127, 127, 127)), "?", ())
_MODEL_ARGS = {"attn_implementation", "dtype", "quantisation", "revision", *PROMPT_ARGUMENTS}


def load(card: ModelCard, options: LoadOptions) -> TransformersEngine:
    """Load a card's model; see `registry.load_engine`.

    `model_args` may hold attn_implementation, dtype, quantisation, revision, system, answer_prefix and
    label_prefix.

    Raises:
        ModelError: an argument is unknown, or the model cannot be loaded or understood.
    """
    arguments = options.model_args
    if unknown := sorted(set(arguments) - _MODEL_ARGS):
        known = ", ".join(sorted(_MODEL_ARGS))
        raise ModelError(
            f"{card.name}: unknown model argument {unknown[0]!r}; the transformers engine has {known}"
        )
    card = with_prompt(card, arguments)
    loaded = load_model(
        card,
        device=options.device,
        dtype=options.dtype or arguments.get("dtype") or card.dtype,
        attn_implementation=arguments.get("attn_implementation") or card.attn_implementation,
        trust_remote_code=options.trust_remote_code,
        offline=options.offline,
        revision=arguments.get("revision"),
        quantisation=arguments.get("quantisation") or card.quantisation,
    )
    return TransformersEngine(card, loaded, batch_size=parse_batch_size(options.batch_size))


@dataclass(frozen=True)
class _Scored:
    """One query's part of a forward pass."""

    scores: LabelScores
    features: Mapping[str, np.ndarray]  # site key -> vector


class TransformersEngine:
    """A loaded image-and-text model. Satisfies `interface.Engine`."""

    def __init__(self, card: ModelCard, loaded: LoadedModel, *, batch_size: int | None = None) -> None:
        self.card = card
        self._model, self._processor = loaded.model, loaded.processor
        self.anatomy: Anatomy = find_anatomy(loaded.model, card)
        self._chat = ChatFormat(loaded.processor, card.prompt, card.name)
        self._prepare: Preparer = InputPreparer(
            loaded.model, loaded.processor, self._chat, self.anatomy, loaded.device
        )
        self._keeps_last = "logits_to_keep" in inspect.signature(loaded.model.forward).parameters
        size = batch_size or (AUTO_CPU if loaded.device.type == "cpu" else AUTO_GPU)
        self.largest_batch = loaded.largest_batch or sys.maxsize  # prompts that a pass may have
        size = min(size, self.largest_batch)
        self._scoring: Batcher[int, _Scored] = Batcher(size)
        self._writing: Batcher[int, Generation] = Batcher(size)
        self.description = self._describe(loaded, compare_with_card(card, self._facts()))

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """Every place that can be watched; the widths are those of one pass over a grey picture."""
        with torch.inference_mode():
            batch = self._prepare([_GREY])
            pooled = self._pass(batch, keep_cache=False, observe=True)[1]
        widths = {key: array.shape[1] for key, array in pooled.items()}
        found = []
        for one in self._watched:
            consumed = one.module == "vision" and one.layer == self.anatomy.consumed_layer
            found += [
                Site(one.module, one.layer, pool, widths[one.key(pool)], consumed) for pool in one.pools
            ]
        return tuple(found)

    @cached_property
    def _watched(self) -> tuple[Watched, ...]:
        """The modules to watch; passes over a grey picture show which tokens the connector merges."""
        with torch.inference_mode():
            batch = self._prepare([_GREY])
            merge = find_merge(self.anatomy, lambda: self._pass(batch, keep_cache=False, observe=False))
        return _watched(self.anatomy, merge)

    def score(self, queries: Sequence[Query], *, observe: bool = False) -> Observation:
        """Score every query's labels, and with `observe` pool the features, in one pass per query.

        A label's raw score is the exact sum of log p over its tokens. Where one label's tokens begin
        another's, the end-of-turn token counts as a token of every label of that query. A query that
        fails alone (memory, an image the processor refuses) has an error for scores and a row of NaN
        for features.

        Raises:
            ModelError: labels cannot be told apart, the forward pass fails, or a layer's features are
                not finite.
        """
        require_labels(queries)

        def forward(indices: Sequence[int]) -> list[_Scored]:
            return self._score_batch([queries[index] for index in indices], observe)

        results = self._in_order(queries, self._scoring, forward)
        scores = tuple(
            LabelScores((), (), error=result.reason) if isinstance(result, Failure) else result.scores
            for result in results
        )
        return Observation(scores, self._collect(results) if observe else {})

    def generate(self, queries: Sequence[Query], *, max_new_tokens: int) -> tuple[Generation, ...]:
        """Let the model write greedily, with the card's penalty on repetition, up to the end of its turn."""

        def forward(indices: Sequence[int]) -> list[Generation]:
            return self._generate_batch([queries[index] for index in indices], max_new_tokens)

        results = self._in_order(queries, self._writing, forward)
        return tuple(
            Generation("", finished=False, error=result.reason) if isinstance(result, Failure) else result
            for result in results
        )

    def rendered(self, query: Query) -> str:
        """Return the text that the model reads for a query, its image as one placeholder."""
        return self._chat.render(query.prompt)

    def tokens_of_labels(self, query: Query) -> tuple[Tokens, ...]:
        """Return the token ids that a query's labels are scored by.

        Raises:
            ModelError: labels cannot be told apart, or cannot be written after the prompt.
        """
        return self._chat.label_tokens(self.rendered(query), query.labels, self._end_ids)

    def image_tokens(self, queries: Sequence[Query]) -> tuple[int, ...]:
        """Return how many tokens of each query's prompt stand for its image."""
        return tuple(self._prepare(queries).tokens.image_tokens.sum(1).tolist())

    def close(self) -> None:
        """Free the model's memory."""
        for part in ("_model", "_prepare", "_watched", "anatomy"):
            self.__dict__.pop(part, None)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _in_order(self, queries: Sequence[Query], batcher: Batcher[int, Any], forward: Any) -> list[Any]:
        """Run queries of one prompt and picture size together, and return results in the order given."""
        order = sorted(
            range(len(queries)),
            key=lambda i: (len(queries[i].prompt), queries[i].prompt, queries[i].image.size),
        )
        with torch.inference_mode():
            results = batcher.run(order, self._named(forward))
        placed = dict(zip(order, results, strict=True))
        return [placed[index] for index in range(len(queries))]

    def _named(self, forward: Any) -> Any:
        """Turn what a model raises when inputs do not fit it into one line that names the model."""

        def named(indices: Sequence[int]) -> Any:
            try:
                return forward(indices)
            except (RuntimeError, ValueError, IndexError, TypeError, CaptureError) as error:
                if is_out_of_memory(error):
                    raise
                reason = one_line(error)
                raise ModelError(f"{self.card.name}: the forward pass failed ({reason})") from error

        return named

    def _score_batch(self, queries: Sequence[Query], observe: bool) -> list[_Scored]:
        labels = [self.tokens_of_labels(query) for query in queries]
        batch = self._prepare(queries)
        longer = any(len(tokens) > 1 for query in labels for tokens in query)
        first, pooled = self._pass(batch, keep_cache=longer, observe=observe)
        totals = label_log_likelihoods(self._model, batch, first, labels, logits_to_keep=self._keeps_last)
        return [
            _Scored(_label_scores(total, tokens), {key: array[row] for key, array in pooled.items()})
            for row, (total, tokens) in enumerate(zip(totals, labels, strict=True))
        ]

    def _pass(
        self, batch: PreparedBatch, *, keep_cache: bool, observe: bool
    ) -> tuple[Any, dict[str, np.ndarray]]:
        with ExitStack() as stack:
            features: PooledFeatures | None = None
            if observe:
                features = stack.enter_context(capture(self._watched, batch.images, batch.tokens))
            first = prefill(self._model, batch, keep_cache=keep_cache, logits_to_keep=self._keeps_last)
        if features is None:
            return first, {}
        arrays = features.arrays()
        for key, array in arrays.items():
            if not np.isfinite(array).all():
                raise ModelError(
                    f"{self.card.name}: the features of {key} are not finite in {self.description.dtype}; "
                    "try --model-args dtype=float32 or bfloat16"
                )
        return first, arrays

    def _collect(self, results: Sequence[_Scored | Failure]) -> dict[str, np.ndarray]:
        features: dict[str, np.ndarray] = {}
        for site in self.sites:
            block = np.full((len(results), site.width), np.nan, dtype=np.float32)
            for row, result in enumerate(results):
                if isinstance(result, _Scored):
                    block[row] = result.features[site.key]
            features[site.key] = block
        return features

    def _generate_batch(self, queries: Sequence[Query], max_new_tokens: int) -> list[Generation]:
        batch = self._prepare(queries)
        if self.card.generation.repetition_penalty != 1 and len(set(batch.lengths.tolist())) > 1:
            # Before transformers 5.23 the penalty also falls on what pads a shorter prompt: often the turn's end.
            return [self._generate_batch([query], max_new_tokens)[0] for query in queries]
        ends, tokenizer = self._end_ids, self._processor.tokenizer
        settings = greedy(max_new_tokens, ends, tokenizer, self.card.generation)
        written = self._model.generate(**batch.inputs, **settings)
        new = written[:, batch.attention_mask.shape[1] :].tolist()
        return [read_generation(tokens, ends, tokenizer) for tokens in new]

    @cached_property
    def _end_ids(self) -> frozenset[int]:
        return end_tokens(self._model, self._processor.tokenizer)

    def _facts(self) -> dict[str, int | str | None]:
        """Return what can be compared with the card's anatomy without a forward pass."""
        return {
            "vision_blocks": len(self.anatomy.vision_blocks),
            "llm_blocks": len(self.anatomy.decoder_layers),
            "llm_width": getattr(self._model.config.get_text_config(), "hidden_size", None),
            "consumed_layer": self.anatomy.consumed_layer,
            "image_token": self._processor.tokenizer.convert_ids_to_tokens(self.anatomy.image_token_id),
        }

    def _describe(self, loaded: LoadedModel, remarks: tuple[str, ...]) -> ModelDescription:
        import transformers

        model = loaded.model
        return ModelDescription(
            name=self.card.name,
            hub_id=self.card.hub_id,
            revision=loaded.revision,
            architecture=type(model).__name__,
            parameters=model.num_parameters(),  # of packed 4-bit weights too, each counts once
            engine="transformers",
            dtype=str(model.dtype).removeprefix("torch."),
            device=str(loaded.device),
            fingerprint={
                "adapter_version": ADAPTER_VERSION,
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "attn_implementation": getattr(model.config, "_attn_implementation", None),
                "prompt": self.card.prompt.model_dump(),
                "processor": settings_of(loaded.processor),
                **({"quantisation": loaded.quantisation} if loaded.quantisation else {}),
                **(
                    {"paths": paths}
                    if (paths := self.card.anatomy.paths.model_dump(exclude_none=True))
                    else {}
                ),
            },
            remarks=remarks,
        )


def _watched(anatomy: Anatomy, merge: Merge | None) -> tuple[Watched, ...]:
    parts: tuple[tuple[Module, Sequence[torch.nn.Module]], ...] = (
        ("vision", anatomy.vision_blocks),
        ("connector", (anatomy.connector,)),
        ("llm", anatomy.decoder_layers),
    )
    return tuple(
        Watched(name, layer, target, merge if (name, layer) == ("vision", anatomy.consumed_layer) else None)
        for name, targets in parts
        for layer, target in enumerate(targets)
    )


def _label_scores(totals: tuple[float, ...], tokens: tuple[Tokens, ...]) -> LabelScores:
    if not np.isfinite(totals).all():
        return LabelScores((), (), error="a label's log-likelihood is not finite")
    return LabelScores(totals, tuple(total / len(t) for total, t in zip(totals, tokens, strict=True)))
