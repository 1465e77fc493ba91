"""Checks that look inside a model that the transformers engine has loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

from model_adapters.anatomy.receptive_field import ramp
from model_adapters.anatomy.replaced_forward import Forward, replaced_forward
from model_adapters.catalog.card import compare_with_card
from model_adapters.checks.questions import LETTERS, noise_queries
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.engines.transformers.label_scoring import prefill
from model_adapters.interface import ModelError, Query
from probes.capture import output_tensor

Check = Callable[[TransformersEngine], str]


def check_sites(engine: TransformersEngine) -> str:
    """Check that every layer can be watched, that its features are finite, and their widths."""
    sites = engine.sites
    features = engine.score(noise_queries(), observe=True).features
    odd = [site.key for site in sites if not np.isfinite(features[site.key]).all()]
    if odd:
        raise ModelError(f"the features of {odd[0]} are not finite; try dtype: float32 on the card")
    widths = {
        part: max(site.width for site in sites if site.module == part and site.pool == "mean")
        for part in ("vision", "connector", "llm")
    }
    measured = {"vision_width": widths["vision"], "llm_width": widths["llm"]}
    remarks = compare_with_card(engine.card, measured)
    counts = {part: len({s.layer for s in sites if s.module == part}) for part in widths}
    found = ", ".join(f"{counts[part]} {part} of width {width}" for part, width in widths.items())
    return "; ".join([found, *remarks])


def check_consumed_layer(engine: TransformersEngine) -> str:
    """Check by changing vision blocks that the connector reads the one that is said to be consumed."""
    blocks, consumed = engine.anatomy.vision_blocks, engine.anatomy.consumed_layer
    plain = _connector_output(engine)
    if torch.equal(plain, _connector_output(engine, blocks[consumed])):
        raise ModelError(
            f"what the connector gives does not depend on vision block {consumed}, which its configuration "
            "says it reads; give anatomy.paths on the card"
        )
    later = blocks[consumed + 1 :]
    if any(not torch.equal(plain, _connector_output(engine, block)) for block in later):
        raise ModelError(
            f"the connector reads a vision block behind block {consumed}; anatomy.consumed_layer is wrong"
        )
    behind = f", and none of the {len(later)} behind it" if later else ", the last one"
    return f"the connector reads vision block {consumed}{behind}"


def check_image_tokens(engine: TransformersEngine) -> str:
    """Check the number of tokens that stand for an image in the prompt against the card."""
    declared = engine.card.anatomy
    queries = noise_queries()
    counted = engine.image_tokens(queries)
    if declared.image_tokens is not None:
        for query, count in zip(queries, counted, strict=True):
            _compare(engine, "image_tokens", declared.image_tokens, count, query)
    if (area := declared.pixels_per_image_token) is not None:
        for query, count in zip(queries, counted, strict=True):
            _compare(engine, "pixels_per_image_token", area, _pixels(engine, query) / count, query)
    return ", ".join(f"{query.id}: {count}" for query, count in zip(queries, counted, strict=True))


def check_chat(engine: TransformersEngine) -> str:
    """Check that the rendered prompt holds the question once, and show how it ends."""
    query = noise_queries()[0]
    rendered = engine.rendered(query)
    count = rendered.count(query.prompt)
    if count != 1:
        raise ModelError(
            f"the rendered prompt holds the question {count} times; see the chat template, or give the card one "
            "under prompt.chat_template"
        )
    return f"ends in {rendered[-40:]!r}"


def check_label_tokens(engine: TransformersEngine) -> str:
    """Check that option letters are told apart by their first token."""
    query = noise_queries(LETTERS)[0]
    tokens = engine.tokens_of_labels(query)
    by_first: dict[int, list[str]] = {}
    for letter, one in zip(LETTERS, tokens, strict=True):
        by_first.setdefault(one[0], []).append(letter)
    for first, letters in by_first.items():
        if len(letters) > 1:
            shared = engine._processor.tokenizer.convert_ids_to_tokens(first)
            raise ModelError(
                f"the letters {', '.join(letters)} share their first token {shared!r} after the prompt, so where "
                "only that one is scored they are the same; set prompt.label_prefix on the card "
                '(often "")'
            )
    return f"the letters {', '.join(LETTERS)} differ in their first token"


def check_scores_against_generation(engine: TransformersEngine) -> str:
    """Check that the token which greedy generation writes first is the one that scoring finds most likely."""
    queries = noise_queries()
    with torch.inference_mode():
        for query in queries:
            batch = engine._prepare([query])
            first = prefill(engine._model, batch, keep_cache=False, logits_to_keep=engine._keeps_last)
            likely = int(first.next_token[0].argmax())
            written = _first_written(engine, query)
            gap = float(first.next_token[0, likely] - first.next_token[0, written])
            if gap > 0.05:  # nats; below it two tokens are equally likely up to rounding
                raise ModelError(
                    f"on picture {query.id} generation begins with another token than scoring finds most likely "
                    f"({gap:.2g} nats apart): the two do not read the same prompt"
                )
    return f"the first token written is the most likely one on {len(queries)} pictures"


INNER_CHECKS: Mapping[str, Check] = {
    "sites": check_sites,
    "consumed layer": check_consumed_layer,
    "image tokens": check_image_tokens,
    "chat template": check_chat,
    "label tokens": check_label_tokens,
    "scores = generation": check_scores_against_generation,
}


def _compare(engine: TransformersEngine, key: str, stated: float, measured: float, query: Query) -> None:
    if abs(stated - measured) > 1e-6 and f"anatomy.{key}" not in engine.card.unverified:
        raise ModelError(
            f"the card says anatomy.{key} {stated:g}, picture {query.id} has {measured:g} in the loaded model"
        )


def _pixels(engine: TransformersEngine, query: Query) -> float:
    """Return the pixels of a picture as the processor resized it: patches times the area of one."""
    inputs = engine._prepare([query]).inputs
    grid = inputs.get("image_grid_thw", inputs.get("grid_sizes"))
    if grid is None:
        raise ModelError(
            "anatomy.pixels_per_image_token is for processors that keep a picture's shape; leave it out"
        )
    patch = engine._processor.image_processor.patch_size
    return float(grid.prod(-1).sum()) * patch**2


def _connector_output(engine: TransformersEngine, change: torch.nn.Module | None = None) -> torch.Tensor:
    """Return what the connector gives for a picture, one vision block's output altered on the way."""
    seen: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        seen.append(output_tensor(output, engine.anatomy.connector_path).detach().clone())

    with ExitStack() as stack, torch.inference_mode():
        if change is not None:
            stack.enter_context(replaced_forward(change, _altering))
        stack.callback(engine.anatomy.connector.register_forward_hook(keep).remove)
        engine._pass(engine._prepare([noise_queries()[0]]), keep_cache=False, observe=False)
    return seen[0]


def _altering(forward: Forward) -> Forward:
    """Return a vision block's `forward` that adds a ramp over the channels to what it gives."""

    def altered(*arguments: Any, **keywords: Any) -> Any:
        output = forward(*arguments, **keywords)
        states = output_tensor(output, "vision block")
        changed = states + ramp(states)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return altered


def _first_written(engine: TransformersEngine, query: Query) -> int:
    from model_adapters.catalog.card import GenerationSettings
    from model_adapters.engines.transformers.generation import greedy

    batch = engine._prepare([query])
    settings = greedy(1, engine._end_ids, engine._processor.tokenizer, GenerationSettings())
    written = engine._model.generate(**batch.inputs, **settings)
    return int(written[0, -1])
