"""Log-likelihoods of labels: the prompt's next-token distribution, continued along the labels' own tokens.

The prompt is read once. A label of one token is scored by the distribution at the last prompt position
alone; a longer one is continued on a copy of the prompt's key-value cache, all branches of all queries in
a few batches. Where an architecture's cache cannot be copied, prompt and branch are read again together.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from model_adapters.engines.transformers.inputs import PreparedBatch, computes_own_positions
from model_adapters.support.label_tokens import Tokens, continuations, path_of

# Branches that are continued together, at least; else as many as prompts, so that the copy of the cache is
# no larger than the cache.
MIN_BRANCHES = 16

# A branch of a query, after its tokens were read: log-probabilities (branch tokens, vocabulary).
Branches = dict[tuple[int, Tokens], Tensor]


@dataclass(frozen=True)
class PromptPrefill:
    """What reading the prompts once gave: next-token log-probabilities (batch, vocabulary), and the cache."""

    next_token: Tensor = field(repr=False)
    cache: Any = field(repr=False)


def prefill(model: Any, batch: PreparedBatch, *, keep_cache: bool, logits_to_keep: bool) -> PromptPrefill:
    """Read a batch of prompts; `logits_to_keep`: the model can limit its logits to the last position."""
    options: dict[str, Any] = {"use_cache": keep_cache}
    if logits_to_keep:
        options["logits_to_keep"] = 1
    elif "num_logits_to_keep" in inspect.signature(model.forward).parameters:
        options["num_logits_to_keep"] = 1  # an older name, in code that some models bring
    if batch.positions is not None:
        options["position_ids"] = batch.positions
    output = model(**batch.inputs, **options)
    return PromptPrefill(
        log_probabilities(output.logits[:, -1]), output.past_key_values if keep_cache else None
    )


def log_probabilities(logits: Tensor) -> Tensor:
    """Return log-probabilities in float32 over the last axis."""
    return torch.log_softmax(logits.float(), dim=-1)


def label_log_likelihoods(
    model: Any,
    batch: PreparedBatch,
    first: PromptPrefill,
    labels: Sequence[tuple[Tokens, ...]],
    *,
    logits_to_keep: bool,
) -> list[tuple[float, ...]]:
    """Return for each query the exact sum of log p over each label's tokens.

    `labels` holds each query's labels as tokens. The cache in `first` is copied, never changed.
    """
    wanted = [(row, path) for row, query in enumerate(labels) for path in continuations(query)]
    branches: Branches = {}
    if wanted:
        read = _continue_on_cache if cache_can_be_copied(model, first.cache) else _read_again(logits_to_keep)
        size = max(len(labels), MIN_BRANCHES)
        for start in range(0, len(wanted), size):
            branches.update(read(model, batch, first, wanted[start : start + size]))
    return [_sums(first.next_token[row], row, query, branches) for row, query in enumerate(labels)]


def _sums(next_token: Tensor, row: int, query: tuple[Tokens, ...], branches: Branches) -> tuple[float, ...]:
    paths = continuations(query)
    totals = next_token[torch.tensor([tokens[0] for tokens in query], device=next_token.device)].double()
    for index, tokens in enumerate(query):
        if len(tokens) > 1:
            read = branches[row, paths[path_of(tokens, paths)]]
            steps = torch.arange(len(tokens) - 1, device=read.device)
            totals[index] += read[steps, torch.tensor(tokens[1:], device=read.device)].double().sum()
    return tuple(totals.tolist())


def cache_can_be_copied(model: Any, cache: Any) -> bool:
    """Tell whether a cache is made of layers that can be selected row by row into new tensors."""
    layers: list[Any] = list(getattr(cache, "layers", ()))
    stateful = bool(getattr(model, "_is_stateful", False))  # recurrent state: not a list of keys and values
    return bool(layers) and not stateful and all(hasattr(layer, "reorder_cache") for layer in layers)


def select_rows(cache: Any, rows: Tensor) -> Any:
    """Return a copy of a cache that holds the given rows, some perhaps several times; the original stays."""
    selected = copy.copy(cache)
    selected.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in selected.layers:
        layer.reorder_cache(rows)
    return selected


def _padded(paths: Sequence[Tokens], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return branch tokens and mask, padded on the right: what follows a branch changes nothing in it."""
    longest = max(map(len, paths))
    tokens = torch.tensor([[*path, *[path[-1]] * (longest - len(path))] for path in paths], device=device)
    mask = torch.tensor([[1] * len(path) + [0] * (longest - len(path)) for path in paths], device=device)
    return tokens, mask


def _continue_on_cache(
    model: Any, batch: PreparedBatch, first: PromptPrefill, wanted: Sequence[tuple[int, Tokens]]
) -> Branches:
    mask = batch.attention_mask
    rows = torch.tensor([row for row, _ in wanted], device=mask.device)
    tokens, token_mask = _padded([path for _, path in wanted], mask.device)
    output = model(
        input_ids=tokens,
        attention_mask=torch.cat([mask[rows], token_mask.to(mask.dtype)], dim=1),
        position_ids=_next_positions(model, batch, rows, tokens.shape[1]),
        past_key_values=select_rows(first.cache, rows),
        use_cache=True,
    )
    return _by_branch(wanted, output.logits)


def _next_positions(model: Any, batch: PreparedBatch, rows: Tensor, count: int) -> Tensor:
    """Return the positions of tokens that follow the prompts: (branches, count), or with three axes first."""
    steps = torch.arange(count, device=rows.device)
    positions = batch.lengths[rows][:, None] + steps[None]
    if not computes_own_positions(model):
        return positions
    # An image takes fewer positions than tokens; the model remembers the difference of its last prompt.
    delta = model.model.rope_deltas.to(rows.device).reshape(-1)[rows]
    return (positions + delta[:, None])[None].expand(3, -1, -1)


def _read_again(
    logits_to_keep: bool,
) -> Callable[[Any, PreparedBatch, PromptPrefill, Sequence[tuple[int, Tokens]]], Branches]:
    """Return a reader that runs prompt and branch together, one branch of every query at a time."""

    def read(
        model: Any, batch: PreparedBatch, _first: PromptPrefill, wanted: Sequence[tuple[int, Tokens]]
    ) -> Branches:
        branches: Branches = {}
        left = list(wanted)
        while left:
            turn = dict(reversed(left))
            left = [(row, path) for row, path in left if turn[row] != path]
            branches.update(_read_turn(model, batch, turn, logits_to_keep))
        return branches

    return read


def _read_turn(model: Any, batch: PreparedBatch, turn: dict[int, Tokens], logits_to_keep: bool) -> Branches:
    rows = batch.attention_mask.shape[0]
    filler = next(iter(turn.values()))
    tokens, token_mask = _padded([turn.get(row, filler) for row in range(rows)], batch.attention_mask.device)
    count = tokens.shape[1]
    inputs = dict(batch.inputs)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], tokens], dim=1)
    inputs["attention_mask"] = torch.cat(
        [batch.attention_mask, token_mask.to(batch.attention_mask.dtype)], dim=1
    )
    for key in ("token_type_ids", "mm_token_type_ids"):
        if key in inputs:
            inputs[key] = torch.cat([inputs[key], torch.zeros_like(tokens, dtype=inputs[key].dtype)], dim=1)
    if batch.positions is not None:
        after = batch.lengths[:, None] + torch.arange(count, device=tokens.device)[None]
        inputs["position_ids"] = torch.cat([batch.positions, after], dim=1)
    if logits_to_keep:
        inputs["logits_to_keep"] = count
    logits = model(**inputs, use_cache=False).logits[:, -count:]
    return _by_branch(list(turn.items()), logits[list(turn)])


def _by_branch(wanted: Sequence[tuple[int, Tokens]], logits: Tensor) -> Branches:
    scores = log_probabilities(logits)
    return {(row, path): scores[i] for i, (row, path) in enumerate(wanted)}
