"""Tasks exported and answered once, for the tests against a real lm-eval. Run by `make test-lmeval` alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# Read when the libraries are imported: no network, and small models are slower on several threads.
ENVIRONMENT = {"HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
if find_spec("lm_eval") is not None:  # else these tests are skipped
    os.environ.update(ENVIRONMENT)

TASK = "phantom-200"
LIMIT = 60  # of which the trained model gets some wrong
SIZE = ("--tasks", TASK, "--limit", str(LIMIT))


def harness(*arguments: str, folder: Path, module: str = "harness") -> subprocess.CompletedProcess[str]:
    """Run a command line of this package in a folder as a user would."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which `harness tasks export` wrote the task."""
    folder = tmp_path_factory.mktemp("exported")
    harness("tasks", "export", "--format", "lm-eval", "tasks", *SIZE, folder=folder)
    return folder / "tasks"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Two LLaVAs: one that knows the task, and a tiny one of random weights that no class can be read from."""
    from importlib.resources import files

    from tests.model_adapters.tiny.llava import llava_siglip

    trained = Path(str(files("model_adapters"))) / "zoo" / "weights" / "llava-healthy"
    return {"trained": trained, "random": llava_siglip(tmp_path_factory.mktemp("tiny") / "random")}


@pytest.fixture(scope="session")
def filed(models: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the result folder that `harness eval` made with a model on the same images."""
    folder = tmp_path_factory.mktemp("filed")

    @cache
    def of(name: str) -> Path:
        place = str(models[name])
        harness("eval", *SIZE, "--models", place, "--no-probe", "--output", name, folder=folder)
        (record,) = (folder / name).glob(f"*/{TASK}/record.json")
        return record.parent

    return of


def lines_of_test(result: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of a result's test images by the image's id."""
    lines = map(json.loads, (result / "samples.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["id"]: line for line in lines if line["split"] == "test"}


@cache
def task_manager(folder: Path) -> Any:
    """Return lm-eval's view of the exported tasks alone."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(folder), include_defaults=False)


def evaluated(model: Any, folder: Path, *tasks: str, **options: Any) -> dict[str, Any]:
    """Let lm-eval run exported tasks, and return its results with every sample."""
    from lm_eval import simple_evaluate

    found: dict[str, Any] = simple_evaluate(
        model=model,
        tasks=list(tasks),
        task_manager=task_manager(folder),
        log_samples=True,
        **{"apply_chat_template": True, **options},
    )
    return found
