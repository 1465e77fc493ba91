"""Models that bring code of their own, and how a family of them is made to work like the library's models.

A model of no family listed here goes the ordinary way: its parts are found through the library's accessors
and by the names that the library uses, or where its card's `anatomy.paths` says, and its processor must take
texts and images as the library's processors do. Where that is not enough, a family says where the parts are
and puts something in between. A new family is one small module and one line in `_FAMILIES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from model_adapters.catalog.card import ModulePaths

# Architecture, as config.json names it -> "module:attribute" of its `RemoteFamily`.
_FAMILIES: Mapping[str, str] = {
    "HulumedQwen2ForCausalLM": "model_adapters.support.hulu_med:HULU_MED",
    "HulumedQwen3ForCausalLM": "model_adapters.support.hulu_med:HULU_MED",
}


@dataclass(frozen=True)
class RemoteFamily:
    """What models of one family need beside what every model gets.

    `paths` says where their parts are. `processor` returns something that takes texts and images as the
    library's processors do: a list of texts, a list of lists of images, padding on the left. `prepare`
    changes a loaded model so that `generate` returns the prompt with its continuation and `forward` takes
    batches. `largest_batch` says how many prompts a forward pass may have, None for any number.
    """

    paths: ModulePaths
    processor: Callable[[Any], Any] = field(repr=False)
    prepare: Callable[[Any], None] = field(repr=False)
    largest_batch: Callable[[Any], int | None] = field(repr=False)


def remote_family(architecture: str) -> RemoteFamily | None:
    """Return the family of an architecture, None where it needs none."""
    if architecture not in _FAMILIES:
        return None
    module, _, attribute = _FAMILIES[architecture].partition(":")
    family: RemoteFamily = getattr(importlib.import_module(module), attribute)
    return family


def family_of_config(config: Any) -> RemoteFamily | None:
    """Return the family of the model that a configuration is of."""
    return remote_family(next(iter(getattr(config, "architectures", None) or ()), ""))


def make_ready(model: Any, build: Callable[[], Any]) -> int | None:
    """Change a model just loaded so that it works as the library's do; nothing where it is one of those.

    `build` makes a model of the same configuration. Returns how many prompts a forward pass may have, None
    for any number.
    """
    if type(model).__module__.partition(".")[0] == "transformers_modules":
        compute_buffers(model, build)
    family = remote_family(type(model).__name__)
    if family is None:
        return None
    family.prepare(model)
    return family.largest_batch(model)


def compute_buffers(model: Any, build: Callable[[], Any]) -> None:
    """Fill the buffers that no checkpoint holds, such as rotary frequencies, with what a new model has in them.

    transformers 5 builds models without memory and leaves such buffers as they happen to be unless the model's
    code was written for it; what was written for an earlier version would read random numbers. `build` makes a
    model of the same configuration; its parameters take no memory here, its buffers do.
    """
    from accelerate import init_empty_weights

    wanted = {
        (f"{path}.{name}" if path else name)
        for path, module in model.named_modules()
        for name in module._non_persistent_buffers_set
        if getattr(module, name) is not None
    }
    if not wanted:
        return
    with init_empty_weights(include_buffers=False):
        fresh = dict(build().named_buffers())
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name in wanted:
                buffer.copy_(fresh[name])
