"""What holds for all tests."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Keep the library's copies of code that models bring in a folder of each process.

    It must be named before transformers is imported, and stay the same: Python looks for the package of these
    copies once.
    """
    folder = TemporaryDirectory(prefix="modules-")
    os.environ["HF_MODULES_CACHE"] = folder.name
    config.add_cleanup(folder.cleanup)
