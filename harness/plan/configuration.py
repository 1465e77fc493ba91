"""Everything that can change an answer, known before a model is loaded."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from harness.data.dataset import Dataset
from harness.plan.model_availability import engine_of
from harness.plan.options import EvalOptions
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.revision import card_revision
from model_adapters.interface import ModelDescription
from tasks.files import json_hash
from tasks.questions import SEEDED_ORDERS
from tasks.spec import task_hash

# Raised when the way a run asks or stores changes, so that old stores are not continued.
RUN_VERSION = 1

SCORE_DECIMALS = 6  # of a nat; far below what any two machines agree on

# What a card says about a model that changes no answer; `path` is replaced by the revision.
_NO_INFLUENCE = {
    "path",
    "title",
    "notes",
    "citation",
    "licence",
    "groups",
    "memory_gb",
    "gated",
    "base",
    "anatomy",
    "requires",
    "unverified",
    "trained_on",
    "adapter",  # a part of the revision
}
# Keys that cards did not always have: left out where they say nothing, so that older stores are continued.
_LATER = {"quantisation", "generation", "endpoint", "classifier"}
# What settings of a server or of vLLM say about speed, memory and money alone.
_SETTINGS_WITHOUT_INFLUENCE = {
    "gpu_memory_utilization",
    "api_key_env",
    "timeout",
    "timeout_seconds",
    "attempts",
    "backoff",
    "concurrency",
    "input_price",
    "output_price",
    "currency",
}
_PACKAGES = ("torch", "transformers", "tokenizers", "pillow", "numpy")


def make_configuration(card: ModelCard, dataset: Dataset, options: EvalOptions) -> dict[str, Any]:
    """Describe a run: model, task, images, options and library versions.

    How the answers are judged (readouts, draws) is left out: it changes no answer. So is the batch
    size, which must not change one either. No path enters.
    """
    return {
        "run_version": RUN_VERSION,
        "model": {
            **_influential(card),
            "revision": _revision(card, options),
            "model_args": _influential_settings(dict(sorted(options.model_args.items()))),
        },
        "task": {
            "id": dataset.task.id,
            "version": dataset.task.version,
            "hash": task_hash(dataset.task),
            "orders": SEEDED_ORDERS,
        },
        "data": {
            "fingerprint": dataset.fingerprint,
            "images": _hash([[s.id, s.split, s.label, s.group, s.pixel_hash] for s in dataset.samples]),
        },
        "options": {
            "engine": options.engine,
            "device": options.device,
            "seed": options.seed,
            "probe": options.probe,
            "limit": options.limit,
            "max_train": options.max_train,
            "score_decimals": SCORE_DECIMALS,
            # absent where it was not asked for, so that records of before it count as they did
            **({"probing_half": True} if options.probing_half else {}),
        },
        "packages": {name: package_version(name) for name in _PACKAGES},
    }


def _influential(card: ModelCard) -> dict[str, Any]:
    content = card.model_dump(mode="json", exclude=_NO_INFLUENCE)
    stated = card.model_dump(mode="json", include=_LATER, exclude_defaults=True)
    kept = {key: value for key, value in content.items() if key not in _LATER or key in stated}
    if card.endpoint is not None:
        kept["endpoint"] = _influential_settings(kept["endpoint"])
    if card.classifier is not None:  # the revision says what is there, wherever the folder lies
        kept["classifier"] = {k: v for k, v in kept["classifier"].items() if k != "pretrained"}
    return kept


def _influential_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out what changes no answer; of a server's address and of a path only a hash enters."""
    kept = {key: value for key, value in settings.items() if key not in _SETTINGS_WITHOUT_INFLUENCE}
    return {key: _hash(v) if key in ("base_url", "pretrained") else v for key, v in kept.items()}


def _revision(card: ModelCard, options: EvalOptions) -> str:
    """Return the model's revision; one that a server holds is not looked up on the hub."""
    if engine_of(card, options) == "openai" and card.endpoint is None:
        return f"server:{options.model_args.get('model') or card.hub_id or card.name}"
    return card_revision(card, offline=options.offline)


def engine_configuration(description: ModelDescription) -> dict[str, Any]:
    """Describe a loaded engine: what can change an answer and is known only once the model is there."""
    return {
        "engine": description.engine,
        "dtype": description.dtype,
        "device_type": description.device.partition(":")[0],
        "fingerprint": dict(description.fingerprint),
    }


def package_version(name: str) -> str | None:
    """Return an installed package's version, without importing it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _hash(value: Any) -> str:
    return json_hash(value, ascii_only=False)[:16]
