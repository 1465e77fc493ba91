"""Tiny models for cards, built once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.model_adapters.cards.tiny_cards import TinyModel


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[TinyModel], Path]:
    """Return the folder of a tiny model, building it when a card first needs it."""
    root = tmp_path_factory.mktemp("cards")
    return cache(lambda tiny: tiny.build(root))
