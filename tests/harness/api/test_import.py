"""`import harness` costs nothing, and says who hides our packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SHADOWED = ("tasks", "probes", "leaderboard", "model_adapters")
ENTRY = str(ROOT / "leaderboard" / "entries" / "zoo--llava-healthy" / "busi")


def python(program: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a program as a script in a folder; Python then looks for modules there first, and for ours after it."""
    (folder / "script.py").write_text(
        f"import sys\nsys.path.insert(1, {str(ROOT)!r})\n{program}", encoding="utf-8"
    )
    return subprocess.run(
        [sys.executable, "-E", *options, "script.py"], cwd=folder, capture_output=True, text=True, timeout=120
    )


def imported(program: str) -> set[str]:
    """Return the modules that a program imports beside those that Python starts with."""
    told = f"import sys; before = set(sys.modules)\n{program}\nprint(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_harness_imports_nothing_else() -> None:
    assert imported("import harness") == {"harness", "__future__"}


def test_results_are_read_without_the_libraries_that_make_them() -> None:
    heavy = {"torch", "transformers", "scipy", "sklearn", "pandas"}
    read = f"import harness; harness.load({ENTRY!r}).verdict"
    assert not imported(read) & heavy
    compared = f"import harness; harness.compare({ENTRY!r}, {ENTRY!r}).verdict"
    assert not imported(compared) & {"torch", "transformers", "pandas"}


@pytest.mark.parametrize("name", SHADOWED)
@pytest.mark.parametrize("form", ["file", "package"])
def test_a_module_that_hides_ours_is_named_in_one_line(name: str, form: str, tmp_path: Path) -> None:
    theirs = tmp_path / (f"{name}.py" if form == "file" else f"{name}/__init__.py")
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("raise RuntimeError('not to be imported')\n", encoding="utf-8")
    asked = f"""
import harness
try:
    harness.load({ENTRY!r})
except ImportError as error:
    print(error)
"""
    said = python(asked, tmp_path)
    assert said.returncode == 0, said.stderr
    assert said.stdout == (
        f"{theirs} hides the package `{name}` of mllm-harness: rename it, or keep its folder off Python's path "
        "(start `python -P`, or in another folder)\n"
    )


def test_the_way_out_that_is_named_is_one(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("raise RuntimeError('not to be imported')\n", encoding="utf-8")
    read = f"import harness\nprint(harness.load({ENTRY!r}).verdict)"
    said = python(read, tmp_path, "-P")
    assert (said.returncode, said.stdout) == (0, "vision\n"), said.stderr


def test_the_command_line_says_it_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "probes.py").write_text("", encoding="utf-8")
    said = python("from harness.cli import main\nmain(['tasks', 'list'])", tmp_path)
    assert said.returncode == 2
    assert said.stderr.startswith(f"harness: {tmp_path / 'probes.py'} hides the package `probes`")
    assert said.stderr.count("\n") == 1


def test_a_folder_that_is_no_package_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "spec.py").write_text(
        "raise RuntimeError('not to be imported')\n", encoding="utf-8"
    )
    said = python(f"import harness\nprint(harness.load({ENTRY!r}).verdict)", tmp_path)
    assert (said.returncode, said.stdout) == (0, "vision\n"), said.stderr


def test_an_unknown_attribute_is_an_ordinary_error() -> None:
    import harness

    with pytest.raises(AttributeError, match="'harness' has no attribute 'evaluates'"):
        harness.evaluates  # noqa: B018


def test_the_model_of_lm_eval_says_it_too(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("", encoding="utf-8")
    said = python("from harness.lm_eval import HarnessLM", tmp_path)
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].startswith(
        f"ImportError: {tmp_path / 'tasks.py'} hides the package `tasks`"
    )
