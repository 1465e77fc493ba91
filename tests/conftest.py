"""What holds for all tests."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests off the hub, and the library's copies of code that models bring in a folder of each process.

    Both are read when the libraries are imported. The folder must stay the same: Python looks for the package of
    these copies once. A test that serves a hub of its own says so (`tests/hub_server.py`).
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models run many times faster so
    folder = TemporaryDirectory(prefix="modules-")
    os.environ["HF_MODULES_CACHE"] = folder.name
    config.add_cleanup(folder.cleanup)
