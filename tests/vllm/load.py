"""Load a tiny model in vLLM, and in the engine that it is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.engines.vllm.engine import VllmEngine

TOLERANCE = 1e-3  # nats; what is measured is some 1e-5
SETTINGS = {"enforce_eager": "true", "max_model_len": "1024", "gpu_memory_utilization": "0.05"}


def load(folder: Path, **options: Any) -> VllmEngine:
    card = resolve([str(folder)])[0].card.model_copy(update=options.pop("card", {}))
    arguments = SETTINGS | options.pop("model_args", {})
    engine = load_engine(card, engine="vllm", model_args=arguments, **options)
    assert isinstance(engine, VllmEngine)
    return engine


def load_slow(folder: Path, **card: Any) -> TransformersEngine:
    asked = resolve([str(folder)])[0].card.model_copy(update=card)
    engine = load_engine(asked, engine="transformers", device="cpu", batch_size=1)
    assert isinstance(engine, TransformersEngine)
    return engine
