"""Merge an adapter, or weights trained in full, into a loaded base model.

A tuned model is its base with the updates merged into the weights, so that anatomy, hooks and everything else
work as for any model. What is read is an ordinary adapter folder of peft.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.tuned import ADAPTER, ADAPTER_CONFIGURATION, FULL, adapter_folder, read_tuned
from model_adapters.interface import ModelError, one_line

_PREFIX = "base_model.model."  # of every name in an adapter file of peft


def require_peft(name: str) -> None:
    """Refuse where peft is not installed.

    Raises:
        ModelError: saying how to install it.
    """
    if find_spec("peft") is None:
        raise ModelError(f"{name}: peft is not installed: pip install 'mllm-harness[finetune]'")


@contextmanager
def without_hints() -> Iterator[None]:
    """Keep to ourselves what peft and transformers tell each other of deprecated names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", "Found missing adapter keys")  # refused below, with their names
        yield


def merge_adapter(model: Any, card: ModelCard, base_revision: str) -> Any:
    """Return a loaded base model of a revision with the card's adapter merged into its weights.

    Raises:
        ModelError: peft is not installed, the folder holds no adapter, or it does not fit the model.
    """
    folder = adapter_folder(card)
    _refuse_another_base(folder, card, base_revision)
    if (folder / ADAPTER_CONFIGURATION).is_file():
        model = _merged(model, folder, card.name)
    if (folder / FULL).is_file():
        _replace(model, folder / FULL, card.name)
    return model.eval()


def _refuse_another_base(folder: Path, card: ModelCard, now: str) -> None:
    """Refuse a base model that is not the one that the adapter was tuned from, where the folder says which."""
    tuned = read_tuned(folder)
    if tuned is not None and now != tuned.base_revision:
        raise ModelError(
            f"{card.name}: the adapter in {folder} was tuned from the weights {tuned.base_revision}, but those "
            f"that the card names are {now}; put the former back, or fine-tune anew"
        )


def _merged(model: Any, folder: Path, name: str) -> Any:
    require_peft(name)
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / ADAPTER, framework="pt") as stored:
            wanted = set(stored.keys())
        device = str(next(model.parameters()).device)
        with without_hints():
            wrapped = PeftModel.from_pretrained(model, str(folder), torch_device=device)
        found = set(get_peft_model_state_dict(wrapped, save_embedding_layers=False))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"{name}: the adapter in {folder} cannot be used ({one_line(error)})") from error
    if wanted != found:
        odd = sorted(wanted ^ found)
        raise ModelError(
            f"{name}: the adapter in {folder} does not fit the model: {len(odd)} weights differ, the first is "
            f"{odd[0].removeprefix(_PREFIX)}"
        )
    return wrapped.merge_and_unload()


@torch.no_grad()
def _replace(model: Any, path: Path, name: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{name}: {path} cannot be read ({one_line(error)})") from error
    own = dict(model.named_parameters())
    for key, tensor in stored.items():
        if key not in own or own[key].shape != tensor.shape:
            raise ModelError(f"{name}: {path} does not fit the model: it has no {key} of this shape")
        own[key].copy_(tensor)
