"""Load a model with transformers: safetensors only, nothing run that was not allowed, nothing half loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, get_args

import torch

from model_adapters.catalog.card import ModelCard, Quantisation
from model_adapters.catalog.requirements import dtype_key, may_run_own_code, naming_versions
from model_adapters.catalog.revision import base_revision, card_revision, model_folder
from model_adapters.engines.transformers.processors import LOAD_ERRORS, load_processor
from model_adapters.interface import ModelError, one_line
from model_adapters.support.remote_code import make_ready

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "auto": "auto"}


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, with its processor, and what it is."""

    model: Any = field(repr=False)
    processor: Any = field(repr=False)
    revision: str
    device: torch.device
    quantisation: str | None = None
    largest_batch: int | None = None  # prompts in one forward pass; None: any number


def load_model(
    card: ModelCard,
    *,
    device: str,
    dtype: str,
    attn_implementation: str | None,
    trust_remote_code: bool,
    offline: bool,
    revision: str | None,
    quantisation: str | None = None,
) -> LoadedModel:
    """Load a card's model and processor.

    `device` "auto" is the process's own GPU, all GPUs through accelerate where there are several, Apple's
    GPU, or the CPU, in this order. `quantisation` is done while the weights are read; weights that are stored
    quantised (AWQ, GPTQ) say so in their own configuration and need no word here.

    Raises:
        ModelError: it cannot be loaded; the message gives the library's reason in one line.
    """
    trusted = may_run_own_code(card, trust_remote_code)
    if dtype not in _DTYPES:
        raise ModelError(f"{card.name}: unknown dtype {dtype!r}; there are {', '.join(_DTYPES)}")
    if revision is not None:
        card = card.model_copy(update={"revision": revision})
    folder = model_folder(card)
    exact = base_revision(card, offline=offline)
    location = str(folder) if folder is not None else str(card.hub_id)
    options: dict[str, Any] = {"trust_remote_code": trusted, "local_files_only": offline}
    if folder is None:
        options["revision"] = exact
    place = placement(device, card.name)
    with quiet():
        model_options = {**options, **place.options, dtype_key(): _DTYPES[dtype]}
        if attn_implementation is not None:
            model_options["attn_implementation"] = attn_implementation
        if quantisation is not None:
            model_options |= _quantised(quantisation, place.device, card.name)
        with naming_versions(card):
            config = load_config(location, card.name, options)
            processor = load_processor(location, config, card.name, **options, **card.processor)
            model = _load_weights(location, config, card.name, model_options)
        if card.adapter is not None:
            from model_adapters.engines.transformers.adapter import merge_adapter

            model = merge_adapter(model, card, exact)
        try:
            placed = place.options or quantisation is not None
            model = model if placed else model.to(place.device)
        except (RuntimeError, torch.OutOfMemoryError) as error:
            raise ModelError(f"{card.name}: does not fit on {place.device} ({one_line(error)})") from error
        with naming_versions(card):
            largest = _make_ready(model.eval(), config, card.name)
    revision = card_revision(card, offline=offline)
    return LoadedModel(model, processor, revision, place.device, quantisation, largest)


def load_config(location: str, name: str, options: Mapping[str, Any]) -> Any:
    """Return the configuration of a local folder or hub id.

    Raises:
        ModelError: there is none, or transformers knows no such model.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(location, **options)
    except LOAD_ERRORS as error:
        if "trust_remote_code" in str(error) and not options.get("trust_remote_code"):
            raise ModelError(
                f"{name}: the model runs code of its own; read it, then allow it with --trust-remote-code"
            ) from error
        raise ModelError(f"{name}: its config.json cannot be used ({one_line(error)})") from error


def _load_weights(location: str, config: Any, name: str, options: dict[str, Any]) -> Any:
    from safetensors import SafetensorError

    try:
        model, info = auto_class(config, name, options["trust_remote_code"]).from_pretrained(
            location, use_safetensors=True, output_loading_info=True, **options
        )
    except (*LOAD_ERRORS, SafetensorError) as error:
        raise ModelError(f"{name}: its weights cannot be loaded ({one_line(error)})") from error
    missing = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if missing:
        raise ModelError(
            f"{name}: {len(missing)} weights are missing or of another shape, the first is {missing[0]}; "
            "they would be random numbers"
        )
    return model


def _make_ready(model: Any, config: Any, name: str) -> int | None:
    def build() -> Any:
        return auto_class(config, name, True).from_config(config, trust_remote_code=True)

    try:
        return make_ready(model, build)
    except LOAD_ERRORS as error:
        raise ModelError(f"{name}: its own code is not as its adapter expects ({one_line(error)})") from error


def auto_class(config: Any, name: str, trust_remote_code: bool) -> Any:
    """Return the auto class that knows a configuration; remote code may register as a causal LM only.

    Raises:
        ModelError: it is no image-and-text model.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    remote = getattr(config, "auto_map", None) or {}
    if trust_remote_code and "AutoModelForCausalLM" in remote and "AutoModelForImageTextToText" not in remote:
        return AutoModelForCausalLM
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and not (trust_remote_code and remote):
        hint = "; it may need --trust-remote-code" if remote else ""
        raise ModelError(
            f"{name}: {config.model_type} is no image-and-text model that transformers knows{hint}"
        )
    return AutoModelForImageTextToText


@dataclass(frozen=True)
class Placement:
    """Where a model goes: `options` are arguments of `from_pretrained` where the weights are spread out."""

    device: torch.device  # where inputs go
    options: Mapping[str, Any] = field(default_factory=dict)


def placement(device: str, name: str) -> Placement:
    """Return where a model goes that is asked for on a device; "auto" as `load_model` has it.

    Raises:
        ModelError: there is no such device here.
    """
    if device == "auto":
        if torch.cuda.is_available():
            rank = os.environ.get("LOCAL_RANK")  # set by torchrun: one process a GPU
            if rank is None and torch.cuda.device_count() > 1:
                return Placement(torch.device("cuda:0"), {"device_map": "auto"})
            return Placement(torch.device(f"cuda:{int(rank or 0) % torch.cuda.device_count()}"))
        return Placement(torch.device("mps" if torch.backends.mps.is_available() else "cpu"))
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"{name}: unknown device {device!r}; try cpu, cuda, cuda:0 or mps") from error
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"{name}: no CUDA device here; use --device cpu or leave --device out")
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"{name}: there is no {device}; this machine has {torch.cuda.device_count()} CUDA devices"
        )
    if wanted.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError(f"{name}: no MPS device here; use --device cpu or leave --device out")
    return Placement(wanted)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's bars and hints off the terminal while a model loads, and set all back."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _quantised(kind: str, device: torch.device, name: str) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that quantise weights with bitsandbytes, the head left as it is.

    Raises:
        ModelError: no such kind, the library is not installed, or the device is Apple's GPU.
    """
    from transformers import BitsAndBytesConfig

    if kind not in get_args(Quantisation):
        known = ", ".join(get_args(Quantisation))
        raise ModelError(f"{name}: unknown quantisation {kind!r}; there are {known}")
    if device.type == "mps":
        raise ModelError(
            f"{name}: {kind} does not run on mps; leave the quantisation out or use another device"
        )
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            f"{name}: {kind} needs bitsandbytes: pip install 'mllm-harness[quantisation]', or leave it out"
        )
    if kind == "bitsandbytes-8bit":
        settings = BitsAndBytesConfig(load_in_8bit=True)
    else:
        settings = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    return {"quantization_config": settings, "device_map": {"": device}}
