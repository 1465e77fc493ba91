"""The package as users have it: from a wheel, in a folder with `tasks/` and `tests/` of its own, offline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.harness.conftest import harness, result

WRONG = "raise ImportError('the wrong package')\n"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and unpack it as an installer does. Returns a folder with `lib/` and the command."""
    folder = tmp_path_factory.mktemp("installed")
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(folder),
            str(ROOT),
        ],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "lib")
    (folder / "harness").write_text("from harness.cli import main\nmain()\n", encoding="utf-8")
    return folder


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A working folder whose own packages have our names."""
    for name in ("tasks", "tests", "probes", "harness", "leaderboard"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            "raise ImportError('the wrong package')\n", encoding="utf-8"
        )
    return tmp_path


def _run(
    installed: Path, *arguments: str, folder: Path, command: str = "harness", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(installed / command), *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(installed / "lib"),
            "OMP_NUM_THREADS": "1",
            # Any attempt to reach a network would end here, at a port where nothing listens.
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "HTTP_PROXY": "http://127.0.0.1:9",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=900,
    )


def test_wheel_runs_offline_in_a_folder_of_its_own(installed: Path, strange: Path) -> None:
    few = ("--tasks", "phantom-200", "--models", "zoo", "--limit", "20", "--no-probe", "--offline")
    done = _run(installed, "eval", *few, folder=strange, HARNESS_ZOO_DIR=str(strange / "zoo"))
    assert done.returncode == 0, done.stderr
    for name in ("gemma3", "llava", "qwen2.5-vl"):
        assert (strange / "results" / f"zoo--{name}-healthy" / "phantom-200" / "record.json").exists()


def test_wheel_carries_its_tasks_cards_and_lists(installed: Path, strange: Path) -> None:
    done = _run(installed, "tasks", "validate", folder=strange)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _run(installed, "tasks", "show", "busi", folder=strange).returncode == 0
    assert "zoo/llava-healthy" in _run(installed, "models", "list", folder=strange).stdout
    for name in ("tests", "tools"):
        assert not (installed / "lib" / name).exists()
    weights = installed / "lib" / "model_adapters" / "zoo" / "weights"
    assert sorted(path.name for path in weights.iterdir()) == [
        "NOTICE",
        "gemma3-healthy",
        "llava-healthy",
        "qwen2.5-vl-healthy",
    ]


def test_wheel_has_two_commands_and_types_for_all_packages(installed: Path, strange: Path) -> None:
    (named,) = (installed / "lib").glob("*.dist-info/entry_points.txt")
    scripts = named.read_text(encoding="utf-8").split("[console_scripts]")[1].split()
    assert [f"{name} = harness.cli:main" for name in ("harness", "mllm-harness")] == [
        " ".join(scripts[i : i + 3]) for i in (0, 3)
    ]
    for package in ("harness", "model_adapters", "probes", "tasks", "leaderboard"):
        assert (installed / "lib" / package / "py.typed").exists()
    shutil.copy(installed / "harness", installed / "mllm-harness")
    for name in ("harness", "mllm-harness"):
        said = _run(installed, "tasks", "--help", folder=strange, command=name)
        assert said.stdout.startswith(f"Usage: {name} tasks ")
        said = _run(installed, "evl", folder=strange, command=name)
        assert said.stderr == f"{name}: no command 'evl'; did you mean `eval`? (see {name} --help)\n"


def test_wheel_keeps_boards_and_leaves_the_projects_own_behind(
    installed: Path, strange: Path, finished: Path
) -> None:
    folder = result(finished)
    for arguments in (
        ("leaderboard", "init", "board"),
        ("submit", str(folder), "--board", "board"),
        ("leaderboard", "verify", "board"),
        ("leaderboard", "build", "board"),
        ("leaderboard", "schema", "record"),
        ("report", str(folder), "--output", "report.html"),
    ):
        done = _run(installed, *arguments, folder=strange)
        assert done.returncode == 0, done.stderr
    assert "zoo/llava-healthy" in (strange / "board" / "index.html").read_text(encoding="utf-8")
    for name in ("board.yaml", "entries", "images", "index.html", "leaderboard.json"):
        assert (ROOT / "leaderboard" / name).exists()
        assert not (installed / "lib" / "leaderboard" / name).exists()


def test_python_m_harness_works_beside_packages_of_the_same_names(strange: Path) -> None:
    (strange / "harness" / "__init__.py").unlink()
    (strange / "harness").rmdir()
    done = harness("tasks", "list", folder=strange, alone=True)
    assert done.returncode == 0, done.stderr
    assert "phantom" in done.stdout
