"""Tiny models, built once a session and loaded by the real code."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.engines.transformers.engine import TransformersEngine
from tests.model_adapters.tiny.models import BUILDERS, WITH_OWN_CODE

Loader = Callable[..., TransformersEngine]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a tiny model, building it when it is first asked for."""
    root = tmp_path_factory.mktemp("tiny")
    builders = {**BUILDERS, **WITH_OWN_CODE}
    return cache(lambda name: builders[name](root / name))


@pytest.fixture(scope="session")
def tiny_engine(tiny_folder: Callable[[str], Path]) -> Loader:
    """Return a tiny model's engine for a batch size, loaded once for each."""

    @cache
    def load(name: str, batch_size: int = 8) -> TransformersEngine:
        card, own = resolve([str(tiny_folder(name))])[0].card, name in WITH_OWN_CODE
        engine = load_engine(card, device="cpu", batch_size=batch_size, trust_remote_code=own)
        assert isinstance(engine, TransformersEngine)
        return engine

    return load
