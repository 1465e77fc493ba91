"""Every public name has an example, and the examples say what happens."""

from __future__ import annotations

import ast
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


def test_type_checkers_see_what_python_loads() -> None:
    stub = ast.parse((ROOT / "harness" / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == harness._PLACES
    (names,) = (node.value for node in stub.body if isinstance(node, ast.Assign))
    assert ast.literal_eval(names) == harness.__all__
    assert {*harness._PLACES, "__version__"} == set(harness.__all__)


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
