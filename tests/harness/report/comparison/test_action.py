"""The GitHub Action's own steps, run in a shell as the runner does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.leaderboard.compare.compared import result, told_apart, write

ROOT = Path(__file__).parents[4]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}


def on_runner(step: str, folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run a step with the variables that the runner would set; harness is the installed one."""
    given = {name: str(spec.get("default", "")) for name, spec in ACTION["inputs"].items()} | {
        name.replace("_", "-"): value for name, value in inputs.items()
    }
    places = {
        "RUNNER_TEMP": folder / "temp",
        "GITHUB_STEP_SUMMARY": folder / "summary.md",
        "GITHUB_ACTION_PATH": ROOT,
    }
    variables = {
        key: re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda found: given[found[1]], value)
        for key, value in STEPS[step].get("env", {}).items()
    }
    command = folder / "temp" / "harness-compare" / "bin" / "harness"
    command.parent.mkdir(parents=True, exist_ok=True)
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m harness "$@"\n')
    command.chmod(0o755)
    script = folder / "step.sh"
    script.write_text(STEPS[step]["run"])
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **{k: str(v) for k, v in places.items()}, **variables},
        timeout=120,
        check=False,
    )


def folders(where: Path, only_baseline: int, only_candidate: int) -> dict[str, str]:
    where.mkdir(parents=True, exist_ok=True)
    baseline, candidate = told_apart(80, only_baseline, only_candidate)
    write(result(baseline), where / "before")
    write(result(candidate), where / "after")
    return {"baseline": str(where / "before"), "candidate": str(where / "after")}


def test_it_is_a_composite_action_whose_inputs_never_enter_a_script() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert [name for name, spec in ACTION["inputs"].items() if spec.get("required")] == [
        "baseline",
        "candidate",
    ]
    used = set()
    for step in STEPS.values():
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]
        used |= {
            name for value in step.get("env", {}).values() for name in re.findall(r"inputs\.([a-z-]+)", value)
        }
    assert used == set(ACTION["inputs"])


@pytest.mark.parametrize(("lost", "code", "said"), [(30, 1, "regressed"), (5, 0, "no evidence")])
def test_its_status_is_the_gates_and_its_summary_the_markdown(
    tmp_path: Path, lost: int, code: int, said: str
) -> None:
    (tmp_path / "summary.md").write_text("before\n")
    done = on_runner("Compare", tmp_path, **folders(tmp_path, lost, 4))
    assert done.returncode == code, done.stderr
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith(f"before\n### harness compare: {said}\n")


def test_what_cannot_be_compared_fails_with_2_and_is_summed_up(tmp_path: Path) -> None:
    given = folders(tmp_path, 5, 5) | {"candidate": "none"}
    done = on_runner("Compare", tmp_path, **given)
    assert done.returncode == 2
    assert "not compared" in (tmp_path / "summary.md").read_text()
    assert "none: no such folder" in done.stderr


def test_every_input_is_passed_on(tmp_path: Path) -> None:
    given = folders(tmp_path / "with space", 30, 4)
    write(result([1] * 40, task="other"), Path(given["baseline"]).parent / "many" / "m" / "other")
    write(result(told_apart(80, 30, 4)[0]), Path(given["baseline"]).parent / "many" / "m" / "small")
    (tmp_path / "limits.yaml").write_text("smallest_regression: 90\n")
    given["baseline"] = str(Path(given["baseline"]).parent / "many")
    assert on_runner("Compare", tmp_path, **given).returncode == 2
    assert on_runner("Compare", tmp_path, **given, allow_missing="true").returncode == 1
    done = on_runner(
        "Compare",
        tmp_path,
        **given,
        allow_missing="true",
        thresholds="limits.yaml",
        json="c.json",
        junit="c.xml",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c.json").exists()
    assert (tmp_path / "c.xml").exists()


@pytest.mark.parametrize("path", ["$(touch stolen)", "`touch stolen`", '"; touch stolen; "', "--help", "-x"])
def test_a_path_is_never_run_nor_read_as_an_option(tmp_path: Path, path: str) -> None:
    done = on_runner("Compare", tmp_path, baseline=path, candidate=path)
    assert done.returncode == 2
    assert "no such folder" in done.stderr
    assert not (tmp_path / "stolen").exists()
