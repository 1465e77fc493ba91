"""Say why a model cannot run here, as far as can be told without loading it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec

from harness.plan.options import EvalOptions
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.hub import hub_reachable, may_read_gated, weights_cached
from model_adapters.catalog.registry import ENGINES, Selected, engine_names, packaged_engine
from model_adapters.catalog.requirements import missing_requirements
from model_adapters.catalog.revision import model_folder, pretrained_folder
from model_adapters.interface import ModelError
from model_adapters.support.device_memory import DeviceMemory, device_memory

# What an engine needs beside the project's own dependencies: the module, and the extra that installs it.
_EXTRAS: Mapping[str, tuple[str, str]] = {"vllm": ("vllm", "vllm"), "openai": ("openai", "api")}

# Engines that hold the model in this machine's memory.
_LOCAL = ("transformers", "vllm", "vision_head")
_SMALLER: Mapping[str | None, float] = {None: 1.0, "bitsandbytes-8bit": 0.55, "bitsandbytes-4bit": 0.35}
_LARGE_GB = 2.0  # of weights, above which a download must be agreed to


class Surroundings:
    """What is looked up at most once for all models of a plan: the hub, and the device's memory."""

    def __init__(self, options: EvalOptions) -> None:
        self._options = options

    @cached_property
    def hub_reachable(self) -> bool:
        """Whether downloads are allowed and the hub answers."""
        return not self._options.offline and hub_reachable()

    @cached_property
    def memory(self) -> DeviceMemory:
        """The memory of the device that was asked for."""
        return device_memory(self._options.device)


def engine_of(card: ModelCard, options: EvalOptions) -> str:
    """Return the name of the engine that answers.

    `--engine` decides for models; a classifier that is trained here has one engine only.
    """
    return card.engine if options.engine == "auto" or card.classifier is not None else options.engine


def why_unavailable(model: Selected, options: EvalOptions, around: Surroundings) -> str | None:
    """Return every reason why a model cannot run here in one line, None where none is known."""
    card = model.card
    engine = engine_of(card, options)
    packaged = packaged_engine(engine)
    if packaged is not None:
        return packaged.why_unavailable()
    if engine not in ENGINES:
        return f"the engine {engine} is not part of this version; there are {', '.join(engine_names())}"
    reasons = [
        *_installation(engine),
        *_server(card, options, engine),
        *_remote_code(model, options, engine),
        *_weights(card, options, around, engine),
        *_memory(card, options, around, engine),
    ]
    return "; ".join(reasons) or None


def _installation(engine: str) -> list[str]:
    if engine in _EXTRAS:
        module, extra = _EXTRAS[engine]
        if find_spec(module) is None:
            return [f"{module} is not installed: pip install 'mllm-harness[{extra}]'"]
    return []


def _server(card: ModelCard, options: EvalOptions, engine: str) -> list[str]:
    if engine != "openai":
        return []
    if card.endpoint is None and not options.model_args.get("base_url"):
        return ["no server is named: add --model-args base_url=http://host:port/v1"]
    variable = options.model_args.get("api_key_env") or (card.endpoint and card.endpoint.api_key_env)
    if variable and not os.environ.get(variable, "").strip():
        return [f"the environment variable {variable} holds no key"]
    return []


def _remote_code(model: Selected, options: EvalOptions, engine: str) -> list[str]:
    card = model.card
    if engine not in _LOCAL:
        return []
    reasons = list(missing_requirements(card))
    if card.trust_remote_code and not model.named:
        reasons.append("it brings code of its own: name it, and allow that with --trust-remote-code")
    elif card.trust_remote_code and not options.trust_remote_code:
        reasons.append("it brings code of its own: allow that with --trust-remote-code")
    return reasons


def _weights(card: ModelCard, options: EvalOptions, around: Surroundings, engine: str) -> list[str]:
    if card.classifier is not None:
        start = card.classifier.pretrained
        if start is not None and pretrained_folder(start) is None:
            return _hub(start, card.revision or "main", 0.0, card.gated, options, around)
        return []
    if engine not in _LOCAL:
        return []
    if card.endpoint is not None:
        return [f"its card names a server and no weights for the engine {engine}; leave --engine out"]
    if card.hub_id is not None:
        size = (card.memory_gb or 0.0) / 1.2  # a card states a fifth more than the weights
        revision = options.model_args.get("revision") or card.revision or "main"
        return _hub(card.hub_id, revision, size, card.gated, options, around)
    try:
        model_folder(card)
    except ModelError as error:
        return [str(error).removeprefix(f"{card.name}: ")]
    return []


def _hub(
    hub_id: str, revision: str, size: float, gated: bool, options: EvalOptions, around: Surroundings
) -> list[str]:
    if weights_cached(hub_id, revision):
        return []
    if options.offline:
        return [f"the weights of {hub_id} are not in the local cache, and --offline allows no download"]
    if not around.hub_reachable:
        access = "gated, and " if gated else ""
        return [f"{access}the weights of {hub_id} are not in the local cache, and the hub cannot be reached"]
    reasons = []
    if gated and not may_read_gated(hub_id):
        reasons.append(
            f"gated: accept its terms at https://huggingface.co/{hub_id}, then run `hf auth login`"
        )
    if size > _LARGE_GB and not options.assume_yes:
        reasons.append(
            f"about {size:.0f} GB to download: agree with --yes, or run `hf download {hub_id}` first"
        )
    return reasons


def _memory(card: ModelCard, options: EvalOptions, around: Surroundings, engine: str) -> list[str]:
    if engine not in _LOCAL or card.memory_gb is None:
        return []
    quantisation = options.model_args.get("quantisation") or card.quantisation
    needed = card.memory_gb * _SMALLER.get(quantisation, 1.0)
    if options.model_args.get("dtype") == "float32" and card.dtype in ("bfloat16", "float16"):
        needed *= 2
    if needed <= 1.0 or needed <= around.memory.gigabytes:  # a laptop need not look for small models
        return []
    return [
        f"needs about {needed:.0f} GB of memory, {around.memory.device} has {around.memory.gigabytes:.0f}"
    ]
