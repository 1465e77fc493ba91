"""The random-weight floor: what the vision encoder's shape alone tells a probe, before any training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from model_adapters.catalog.requirements import dtype_key
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.interface import ModelError


@contextmanager
def random_vision(engine: TransformersEngine, *, seed: int = 0) -> Iterator[None]:
    """Give the vision encoder fresh weights inside the block, and its own again afterwards.

    The weights are drawn as the library draws those of a new model of this configuration. The connector and
    the decoder keep theirs, also where the connector is a part of the encoder: features watched at the
    vision layers are the floor, answers given inside the block mean nothing. The same seed gives the same
    weights; torch's global random state is as it was when the block begins and ends.

    Raises:
        ModelError: the encoder cannot be built anew from its configuration.
    """
    encoder = engine.anatomy.encoder
    kept = {id(tensor) for tensor in _tensors(engine.anatomy.connector).values()}
    own = {name: tensor for name, tensor in _tensors(encoder).items() if id(tensor) not in kept}
    fresh = _tensors(_new(encoder, engine.card.name, seed))
    if missing := sorted(set(own) - set(fresh)):
        raise ModelError(
            f"{engine.card.name}: a new vision encoder has no {missing[0]}; it was changed after loading"
        )
    before = {name: tensor.detach().clone() for name, tensor in own.items()}
    try:
        _copy(fresh, own)
        yield
    finally:
        _copy(before, own)


def _new(encoder: Any, title: str, seed: int) -> nn.Module:
    build = getattr(type(encoder), "_from_config", None)
    if build is None:
        raise ModelError(
            f"{title}: its vision encoder ({type(encoder).__name__}) has no configuration of its own"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build(encoder.config, **{dtype_key(): torch.float32})


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
