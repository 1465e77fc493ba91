"""Start vLLM with a card's model: the same configuration, processor and end tokens as with transformers."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from model_adapters.catalog.card import ModelCard
from model_adapters.engines.vllm.settings import VllmSettings
from model_adapters.interface import LoadOptions, ModelError, one_line

# Read by vLLM when it is imported. It writes to stdout otherwise, where tables go, and tells its makers of
# each start.
_ENVIRONMENT = {
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}


@dataclass(frozen=True)
class LoadedVllm:
    """A model that vLLM holds, and what was needed to start it.

    `end_ids` are the tokens at which the model's turn ends, `parameters` their number before quantisation.
    """

    llm: Any = field(repr=False)
    processor: Any = field(repr=False)
    end_ids: frozenset[int]
    revision: str
    architecture: str
    parameters: int
    device: str
    dtype: str
    reads_images_both_ways: bool  # as far as the model asks for it


def require_vllm(name: str) -> None:
    """Refuse a model where vLLM is not installed.

    Raises:
        ModelError: naming the command that installs it.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ModelError(f"{name}: vLLM is not installed; pip install 'mllm-harness[vllm]'")


def start(card: ModelCard, settings: VllmSettings, asked: LoadOptions) -> LoadedVllm:
    """Start vLLM with a card's model.

    Raises:
        ModelError: the model cannot be found, or vLLM refuses it; the message gives its reason in one line.
    """
    from model_adapters.catalog.requirements import may_run_own_code, naming_versions
    from model_adapters.catalog.revision import card_revision, model_folder
    from model_adapters.engines.transformers.load import load_config, quiet
    from model_adapters.engines.transformers.processors import load_processor

    options: dict[str, Any] = {"trust_remote_code": may_run_own_code(card, asked.trust_remote_code)}
    if settings.revision is not None:
        card = card.model_copy(update={"revision": settings.revision})
    folder = model_folder(card)
    exact = card_revision(card, offline=asked.offline)
    location = str(folder.resolve()) if folder is not None else str(card.hub_id)
    if folder is None:
        options["revision"] = exact
    with quiet(), naming_versions(card):
        local = {**options, "local_files_only": asked.offline}
        config = load_config(location, card.name, local)
        processor = load_processor(location, config, card.name, **local, **card.processor)
        ends = _end_ids(location, config, processor.tokenizer, local)
        parameters = _count_parameters(config, card.name, options["trust_remote_code"])
    if folder is None and asked.offline:
        location = _in_cache(str(card.hub_id), exact)
    llm = _start(card, settings, location, config, processor, asked.device, options)
    model_config = llm.llm_engine.vllm_config.model_config
    return LoadedVllm(
        llm=llm,
        processor=processor,
        end_ids=ends,
        revision=exact,
        architecture=next(iter(config.architectures or ()), type(config).__name__),
        parameters=parameters,
        device=_device_type(),
        dtype=str(model_config.dtype).removeprefix("torch."),
        reads_images_both_ways=bool(getattr(model_config, "is_mm_prefix_lm", False)),
    )


def _start(
    card: ModelCard,
    settings: VllmSettings,
    location: str,
    config: Any,
    processor: Any,
    device: str,
    options: Mapping[str, Any],
) -> Any:
    from safetensors import SafetensorError

    from model_adapters.engines.transformers.processors import LOAD_ERRORS

    # `setdefault`: what the user says comes first.
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    try:
        from vllm import LLM
    except LOAD_ERRORS as error:
        raise ModelError(f"{card.name}: vLLM cannot be imported ({one_line(error)})") from error
    _check_device(device, card.name)
    arguments = {
        **settings.passed,
        "dtype": _dtype(settings.passed["dtype"], config),
        "limit_mm_per_prompt": {"image": 1, "video": 0},
        "max_logprobs": -1,
        "logprobs_mode": "raw_logprobs",  # before any penalty or temperature
        "generation_config": "vllm",  # not the model's own sampling settings
        "seed": 0,
    }
    if "quantization" not in settings.passed:
        arguments["load_format"] = "safetensors"  # no weights that are code
    if card.processor:
        arguments["mm_processor_kwargs"] = _processor_settings(card, processor)
    errors: tuple[type[BaseException], ...] = (*LOAD_ERRORS, SafetensorError, MemoryError, *own_errors())
    try:
        return LLM(model=location, **arguments, **options)
    except errors as error:
        raise ModelError(f"{card.name}: vLLM cannot load it ({one_line(error)})") from error


def _processor_settings(card: ModelCard, processor: Any) -> dict[str, Any]:
    """Return a card's processor settings as they are passed on: limits of pixels as the size that they make."""
    from model_adapters.engines.transformers.processors import settings_of

    limits = {"min_pixels", "max_pixels"}
    passed = {key: value for key, value in card.processor.items() if key not in limits}
    if limits & set(card.processor):
        size = settings_of(processor)["size"]
        passed["size"] = {key: value for key, value in size.items() if value is not None}
    return passed


def _dtype(wanted: str, config: Any) -> str:
    """Return the type that the weights are stored in for "auto", as transformers does.

    vLLM's own "auto" halves the precision of weights that are stored in float32.
    """
    stored = getattr(config, "dtype", None)
    return wanted if wanted != "auto" or stored is None else str(stored).removeprefix("torch.")


def _end_ids(location: str, config: Any, tokenizer: Any, options: Mapping[str, Any]) -> frozenset[int]:
    from transformers import GenerationConfig

    from model_adapters.engines.transformers.generation import end_tokens

    known = {key: value for key, value in options.items() if key != "trust_remote_code"}
    try:
        generation = GenerationConfig.from_pretrained(location, **known)
    except OSError:  # the model ships none, and transformers makes it of its configuration too
        generation = GenerationConfig.from_model_config(config)
    return end_tokens(SimpleNamespace(generation_config=generation), tokenizer)


def _count_parameters(config: Any, name: str, trust_remote_code: bool) -> int:
    """Count a model's parameters by building it without memory."""
    from accelerate import init_empty_weights

    from model_adapters.engines.transformers.load import auto_class

    with init_empty_weights(include_buffers=True):
        built = auto_class(config, name, trust_remote_code).from_config(
            config, trust_remote_code=trust_remote_code
        )
    built.tie_weights()
    return sum(parameter.numel() for parameter in built.parameters())


def _in_cache(hub_id: str, revision: str) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return str(snapshot_download(hub_id, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError as error:
        raise ModelError(f"{hub_id}@{revision}: not in the local cache; leave --offline out") from error


def _device_type() -> str:
    from vllm.platforms import current_platform

    return str(current_platform.device_type)


def _check_device(device: str, name: str) -> None:
    """Refuse a device that this vLLM was not built for; which GPUs it takes is for CUDA_VISIBLE_DEVICES to say."""
    if device == "auto":
        return
    kind, _, index = device.partition(":")
    if kind != _device_type():
        raise ModelError(
            f"{name}: the vLLM that is installed runs on {_device_type()}, not on {device}; leave --device out"
        )
    if index:
        raise ModelError(
            f"{name}: vLLM takes no {device}; set CUDA_VISIBLE_DEVICES={index} and leave --device out"
        )


def own_errors(base: str = "VLLMError") -> tuple[type[Exception], ...]:
    """Return vLLM's own class of errors, or its "VLLMClientError" for what is wrong with a request.

    A version without those classes raises Python's own errors, except where its engine is dead.
    """
    from importlib import import_module
    from importlib.util import find_spec

    known = getattr(import_module("vllm.exceptions"), base, None) if find_spec("vllm.exceptions") else None
    if known is not None:
        return (known,)
    return (import_module("vllm.v1.engine.exceptions").EngineDeadError,) if base == "VLLMError" else ()
