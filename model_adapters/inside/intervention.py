"""Change hidden states while a model reads its prompts, to see what its answers depend on.

A probe shows what a layer carries, an intervention what the model uses. Inside `with intervene(engine,
Erase(...))` the engine's answers are those of the model whose states at one site are changed on the way;
everything after the site sees the changed states, the key-value cache of the prompt included. Tokens that
follow the prompt (a label's, a generation's) are never changed themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.engines.transformers.inputs import PreparedBatch
from model_adapters.interface import Engine, ModelError, Query
from probes.capture import CaptureError, output_tensor
from probes.sites import Site


@dataclass(frozen=True, eq=False)
class Erase:
    """The affine map x -> x - removed read' (x - mean) of every token at a site.

    At a site of pool "mean" it is applied to each image token, at one of pool "last" to the last prompt
    token. `mean` has the shape (width,), `read` and `removed` (width, rank). Being affine, the map commutes
    with the mean over tokens: one fitted on pooled features does to the pooled features exactly what it was
    fitted to do. A map of rank 0, or with zeros for `removed`, leaves every bit as it is.
    """

    site: Site
    mean: np.ndarray = field(repr=False)
    read: np.ndarray = field(repr=False)
    removed: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class Patch:
    """Each query's tokens at a site replaced by given ones, by query id: see `token_states`.

    At a site of pool "mean" these are the image's tokens, (tokens, width); at one of pool "last" the last
    prompt token, (1, width). Queries that are not named keep their own.
    """

    site: Site
    states: Mapping[str, Tensor] = field(repr=False)


# Rows of one site (rows, width) image by image, how many each query has, and the queries -> rows.
_Edit = Callable[[Tensor, tuple[int, ...], Sequence[Query]], Tensor]


@contextmanager
def intervene(engine: Engine, intervention: Erase | Patch) -> Iterator[None]:
    """Let the engine answer with changed states inside the block.

    At the connector every token of its output is changed, before the model cuts, orders or surrounds them;
    in the decoder a layer's output at the image tokens, or at the last prompt token. Interventions may be
    nested. Features observed inside the block are those of the changed states.

    Raises:
        ModelError: on entering, where the engine shows no such site or the arrays do not fit it; from
            inside, by the engine's own methods, where an output or a patch does not fit its tokens.
    """
    own = _transformers(engine)
    edit = _erasing(intervention) if isinstance(intervention, Erase) else _patching(intervention)
    with _editing(own, intervention.site, edit):
        yield


def token_states(engine: Engine, queries: Sequence[Query], site: Site) -> dict[str, Tensor]:
    """Return each query's tokens at a site by query id, (tokens, width), in the model's own precision.

    They stay on the model's device. A query that fails alone, as `Engine.score` says, has no entry.

    Raises:
        ModelError: the engine shows no such site, or the forward pass fails.
    """
    kept: dict[str, Tensor] = {}

    def keep(rows: Tensor, lengths: tuple[int, ...], batch: Sequence[Query]) -> Tensor:
        for query, part in zip(batch, rows.split(lengths), strict=True):
            kept[query.id] = part.clone()
        return rows

    with _editing(_transformers(engine), site, keep):
        scores = engine.score(queries).scores
    return {q.id: kept[q.id] for q, s in zip(queries, scores, strict=True) if s.error is None}


def can_intervene(engine: Engine) -> bool:
    """Tell whether an engine's hidden states can be changed here."""
    return isinstance(engine, TransformersEngine)


def picture_layout(engine: Engine, query: Query) -> str:
    """Return a key that is equal for queries whose image tokens correspond one to one, for `Patch`.

    It stands for all that the model is told of a picture beside its pixels: prompt tokens, grids, sizes and
    masks as they are, and the shapes of what holds pixels. So pictures of any two sizes may correspond where
    the processor makes every picture the same square, and of one size only where it does not.

    Raises:
        ModelError: the engine shows no hidden states.
        UnreadableItemError: the processor refuses the image.
    """
    inputs = _transformers(engine)._prepare([query]).inputs
    digest = hashlib.sha256()
    for key, value in sorted(inputs.items()):
        exact = isinstance(value, Tensor) and not value.is_floating_point()
        told = value.tolist() if exact else getattr(value, "shape", value)
        digest.update(f"{key}:{told}\n".encode())
    return digest.hexdigest()


def connector_is_only_way(engine: Engine, first: Query, second: Query) -> bool:
    """Tell whether all that a model's answers know of an image goes through the connector's output.

    With every token of that output set to zero, two pictures of one size must give the same scores to the
    last bit; where they do not, image features enter the decoder elsewhere as well (deep-stack models), and
    what is erased at the connector can come in there.

    Raises:
        ModelError: the engine shows no connector, or cannot score the queries.
    """
    found = [site for site in engine.sites if site.module == "connector"]
    if not found:
        raise ModelError(f"{engine.description.name}: the engine shows no connector")
    site, everything = found[0], np.eye(found[0].width, dtype=np.float32)
    with intervene(engine, Erase(site, np.zeros(site.width, np.float32), everything, everything)):
        seen = [engine.score([query]).scores[0] for query in (first, replace(first, image=second.image))]
    if failed := next((scores.error for scores in seen if scores.error), None):
        raise ModelError(f"{engine.description.name}: {failed}")
    return seen[0].raw == seen[1].raw


def _transformers(engine: Engine) -> TransformersEngine:
    if not isinstance(engine, TransformersEngine):
        kind = engine.description.engine
        raise ModelError(f"{engine.description.name}: the engine {kind} lets no one into its hidden states")
    return engine


def _erasing(intervention: Erase) -> _Edit:
    width = intervention.site.width
    arrays = intervention.mean[None], intervention.read.T, intervention.removed.T
    if any(a.ndim != 2 or a.shape[1] != width for a in arrays) or arrays[1].shape != arrays[2].shape:
        shapes = ", ".join(str(a.shape) for a in (intervention.mean, intervention.read, intervention.removed))
        raise ModelError(
            f"{intervention.site.key}: an eraser of shapes {shapes} for states of width {width}; expected "
            "(width,), (width, rank), (width, rank)"
        )
    mean, read, removed = (torch.as_tensor(np.ascontiguousarray(a), dtype=torch.float32) for a in arrays)

    def erase(rows: Tensor, _lengths: tuple[int, ...], _queries: Sequence[Query]) -> Tensor:
        nonlocal mean, read, removed
        if mean.device != rows.device:
            mean, read, removed = (tensor.to(rows.device) for tensor in (mean, read, removed))
        exact = rows.float()
        return (exact - (exact - mean) @ read.T @ removed).to(rows.dtype)

    return erase


def _patching(intervention: Patch) -> _Edit:
    def patch(rows: Tensor, lengths: tuple[int, ...], queries: Sequence[Query]) -> Tensor:
        parts = []
        for query, own in zip(queries, rows.split(lengths), strict=True):
            given = intervention.states.get(query.id, own)
            if given.shape != own.shape:
                raise CaptureError(
                    f"{intervention.site.key}: query {query.id!r} has states of shape {tuple(own.shape)}, "
                    f"its donor {tuple(given.shape)}; patch between pictures of one size"
                )
            parts.append(given.to(own))
        return torch.cat(parts)

    return patch


@dataclass
class _Reading:
    """What the engine is reading now: its prompts, or (not `prompts`) what follows them on a cache."""

    queries: Sequence[Query] = ()
    batch: PreparedBatch | None = None
    prompts: bool = True


@contextmanager
def _editing(engine: TransformersEngine, site: Site, edit: _Edit) -> Iterator[None]:
    """Put an edit in the place of a site's module's output, in every pass over prompts inside the block."""
    if site.key not in {known.key for known in engine.sites}:  # also: widths are taken before any change
        raise ModelError(f"{engine.card.name}: has no site {site.key}")
    target = _target(engine, site)
    reading, prepare = _Reading(), engine._prepare

    def noted(queries: Sequence[Query]) -> PreparedBatch:
        reading.queries, reading.batch = queries, prepare(queries)
        return reading.batch

    def before(_model: nn.Module, _arguments: Any, keywords: dict[str, Any]) -> None:
        cache = keywords.get("past_key_values")
        reading.prompts = cache is None or cache.get_seq_length() == 0

    def after(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if not reading.prompts or reading.batch is None:
            return None
        states = output_tensor(output, site.key)
        return _with_states(output, _edited(site, states, reading.batch, reading.queries, edit))

    with ExitStack() as stack:
        stack.callback(engine._model.register_forward_pre_hook(before, with_kwargs=True).remove)
        stack.callback(target.register_forward_hook(after).remove)
        engine._prepare = noted
        stack.callback(setattr, engine, "_prepare", prepare)
        yield


def _target(engine: TransformersEngine, site: Site) -> nn.Module:
    if site.module == "connector":
        return engine.anatomy.connector
    if site.module == "llm":
        return engine.anatomy.decoder_layers[site.layer]
    raise ModelError(f"{site.key}: states are changed at the connector or in the decoder, not before")


def _edited(
    site: Site, states: Tensor, batch: PreparedBatch, queries: Sequence[Query], edit: _Edit
) -> Tensor:
    """Return a module's output with the rows that a site is about edited; the others stay bit by bit."""
    if site.module == "connector":
        rows, units = states.reshape(-1, states.shape[-1]), batch.images.units
        if any(len(rows) * count % sum(units) for count in units):
            raise CaptureError(
                f"{site.key}: an output of shape {tuple(states.shape)} cannot be shared by units {units}"
            )
        lengths = tuple(len(rows) * count // sum(units) for count in units)
        return edit(rows, lengths, queries).reshape(states.shape)
    chosen = _positions(site, states, batch)
    lengths = tuple(chosen.sum(1).tolist())
    changed = states.clone()
    changed[chosen] = edit(states[chosen], lengths, queries)
    return changed


def _positions(site: Site, states: Tensor, batch: PreparedBatch) -> Tensor:
    """Return booleans (batch, length): a prompt's image tokens, or its last token, and nothing after it."""
    image_tokens = batch.tokens.image_tokens
    count, length = image_tokens.shape
    if states.ndim != 3 or states.shape[0] != count or states.shape[1] < length:
        raise CaptureError(
            f"{site.key}: an output of shape {tuple(states.shape)} for {count} prompts of {length} tokens"
        )
    chosen = torch.zeros(states.shape[:2], dtype=torch.bool, device=states.device)
    if site.pool == "last":
        chosen[:, length - 1] = True
    else:
        chosen[:, :length] = image_tokens.to(states.device)
    return chosen


def _with_states(output: Any, states: Tensor) -> Any:
    """Return a module's output with its hidden states replaced."""
    if isinstance(output, Tensor):
        return states
    if isinstance(output, tuple | list):
        return type(output)((states, *output[1:]))
    changed = type(output)(**output)
    changed["last_hidden_state"] = states
    return changed
