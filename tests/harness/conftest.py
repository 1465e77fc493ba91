"""Fixtures for whole runs of the command line on the built-in model and generated images."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from harness.console import Console
from harness.data.dataset import Dataset
from harness.data.sources import load_dataset
from harness.passes.context import Run
from harness.passes.store import RunStore
from harness.passes.timing import Timing
from harness.plan.options import EvalOptions
from model_adapters.interface import Engine
from tasks.catalog import load
from tests.harness import command_line

RUN = ["--tasks", "phantom-200", "--models", "zoo/llava-healthy"]


def harness(
    *arguments: str, folder: Path, timeout: float = 900, alone: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder as a user would, and return what it said; see `command_line.run`."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **environment}
    return command_line.run(arguments, folder, variables, timeout, alone=alone)


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without what may differ between two runs of the same thing."""
    return {key: value for key, value in record.items() if key not in ("cost", "provenance")}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file."""
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def result(output: Path, model: str = "zoo--llava-healthy", task: str = "phantom-200") -> Path:
    """Return the folder of a result."""
    return output / model / task


def run_of(store: RunStore, engine: Engine, dataset: Dataset, **options: Any) -> Run:
    """Return a run that is going on with an open store and a loaded engine."""
    timing = Timing(started=datetime.now(UTC))
    return Run(store, engine, dataset, EvalOptions(**options), Console(), timing)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole run, shared by the tests that only read it, in every process. Returns the output folder."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    folder = shared / "finished"
    with FileLock(f"{folder}.lock"):
        if not (result(folder / "out") / "record.json").exists():
            folder.mkdir()
            done = harness("eval", *RUN, "--output", "out", folder=folder)
            assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Fewer phantom images than any task has."""
    task = load("phantom-200")
    splits = {name: split.model_copy(update={"count": 60}) for name, split in task.source.splits.items()}
    small = task.model_copy(update={"source": task.source.model_copy(update={"splits": splits})})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return load_dataset(small, offline=True)
