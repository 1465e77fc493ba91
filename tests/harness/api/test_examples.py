"""Every public name has an example, and the examples say what happens."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).resolve().parents[3]
MODULES = (
    "harness",
    "harness.run.evaluate",
    "harness.run.results",
    "harness.report.comparison.compare",
    "harness.exchange.verify",
)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_run(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(ROOT)  # where the examples find a board
    done = doctest.testmod(importlib.import_module(module))
    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize("name", harness.__all__)
def test_every_public_name_is_there_and_has_an_example(name: str) -> None:
    thing = getattr(harness, name)
    assert name in dir(harness)
    if name == "__version__" or (inspect.isclass(thing) and issubclass(thing, Exception)):
        return
    assert thing.__module__ in MODULES
    assert ">>> " in (inspect.getdoc(thing) or "")
