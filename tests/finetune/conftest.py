"""Tiny models, built once a session; see `small`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.engines.tiny_models import BUILDERS


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a tiny model, building it when it is first asked for."""
    root = tmp_path_factory.mktemp("tiny")
    return cache(lambda name: BUILDERS[name](root / name))
