"""Servers and engines, ended with the test that asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import load_engine
from model_adapters.engines.openai.engine import OpenAIEngine
from model_adapters.interface import Metered
from tests.model_adapters.engines.openai.asking import CARD, COLOURS, Connect, Start
from tests.model_adapters.tiny.openai_server import ColourServer


@pytest.fixture
def start() -> Iterator[Start]:
    servers: list[ColourServer] = []

    def started(**behaviour: Any) -> ColourServer:
        servers.append(ColourServer(behaviour.pop("answers", COLOURS), **behaviour).start())
        return servers[-1]

    yield started
    for server in servers:
        server.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    engines: list[OpenAIEngine] = []

    def connected(server: ColourServer, card: ModelCard = CARD, **arguments: str) -> OpenAIEngine:
        usual = {"backoff": "0.01", "timeout": "5", "base_url": server.base_url, "model": "tiny"}
        engine = load_engine(card, engine="openai", model_args={**usual, **arguments})
        assert isinstance(engine, OpenAIEngine)
        assert isinstance(engine, Metered)
        engines.append(engine)
        return engine

    yield connected
    for engine in engines:
        engine.close()
