"""What holds for all tests."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, however slow the machine: a red run is about the change.
settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")

# The kind of a test, by where it lies; what is named nowhere is of running models. `make help` says what each is.
KINDS = {
    "models": (
        "model_adapters/cards",
        "model_adapters/engines/classifier",
        "model_adapters/finetune",
        "model_adapters/zoo",
        "harness/run/test_foreign_model.py",
        "harness/run/test_references.py",
        "harness/study",
        "harness/tuning",
        "harness/watch",
        "tools",
    ),
    "record": (
        "leaderboard",
        "harness/data/layouts/test_hub.py",
        "harness/exchange",
        "harness/lm_eval",
        "harness/report",
        "harness/run/test_collect.py",
    ),
}


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests off the hub, and the library's copies of code that models bring in a folder of each process.

    Both are read when the libraries are imported. The folder must stay the same: Python looks for the package of
    these copies once. A test that serves a hub of its own says so (`tests/hub_server.py`).
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models run many times faster so
    os.environ["NO_COLOR"] = "1"
    folder = TemporaryDirectory(prefix="modules-")
    os.environ["HF_MODULES_CACHE"] = folder.name
    config.add_cleanup(folder.cleanup)


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its kind."""
    for item in items:
        place = item.path.relative_to(Path(__file__).parent)
        for kind, places in KINDS.items():
            if any(place.is_relative_to(folder) for folder in places):
                item.add_marker(kind)
