"""`harness.evaluate` does what `harness eval` does, by the same words."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.cli.eval import eval_command
from harness.run.evaluate import evaluate
from model_adapters.catalog.registry import shipped_cards
from tasks import catalog
from tests.harness.conftest import comparable, read_json
from tests.harness.conftest import harness as command

FEW = {"limit": 20, "probe": False, "offline": True}


def word(option: str) -> str:
    """Return the word of an option of the command line in Python."""
    return option.removeprefix("--").removeprefix("no-").replace("-", "_")


def test_the_options_are_those_of_the_command_line() -> None:
    typed = {word(parameter.opts[0]) for parameter in eval_command.params}
    known = set(inspect.signature(evaluate).parameters)
    assert known == typed | {"quiet", "unknown"}


def test_it_files_what_the_command_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = command(
        *("eval", "--tasks", "phantom-200", "--models", "zoo/llava-healthy", "--limit", "20", "--no-probe"),
        *("--offline", "--output", "typed"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    results = harness.evaluate(
        "phantom-200", (name for name in ["zoo/llava-healthy"]), output=tmp_path / "called", quiet=True, **FEW
    )
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    assert repr(results) in done.stdout
    place = Path("zoo--llava-healthy") / "phantom-200"
    typed, called = (read_json(tmp_path / name / place / "record.json") for name in ("typed", "called"))
    assert comparable(typed) == comparable(called)
    assert results.record == harness.load(tmp_path / "called").record
    assert called["provenance"]["command"] == (
        "harness.evaluate(tasks=['phantom-200'], models=['zoo/llava-healthy'], output='.../called', limit=20, "
        "probe=False, offline=True, quiet=True)"
    )
    assert (tmp_path / "called" / place / "log.txt").read_text(encoding="utf-8").count("loading") == 1


def test_loaded_tasks_and_models_can_be_handed_over(tmp_path: Path) -> None:
    task = catalog.load("phantom-200").model_copy(update={"id": "mine"})
    card = shipped_cards()["zoo/llava-healthy"].model_copy(update={"name": "me/model"})
    results = harness.evaluate(task, card, output=tmp_path, dry_run=True, **FEW)
    assert [(run.model, run.task, run.reason) for run in results.planned] == [("me/model", "mine", None)]
    assert len(results) == 0
    assert not list(tmp_path.iterdir())


def test_a_failure_is_held_and_the_rest_goes_on(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "llava"}', encoding="utf-8")
    results = harness.evaluate(
        "phantom-200", [broken, "zoo/llava-healthy"], output=tmp_path / "out", quiet=True, **FEW
    )
    assert [result.model for result in results] == ["zoo/llava-healthy"]
    (failed,) = results.failures
    assert failed.title == "broken on phantom-200"
    assert failed.reason
    assert f"broken on phantom-200: failed: {failed.reason}" in repr(results)


def test_what_came_by_a_group_and_cannot_run_is_skipped(tmp_path: Path) -> None:
    results = harness.evaluate("phantom-200", "paper", output=tmp_path, dry_run=True, **FEW)
    assert len(results.skipped) >= 14
    assert all(run.reason for run in results.skipped)
    assert not results.failures


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"limits": 3}, TypeError, "harness.evaluate has no option `limits`; did you mean `limit`?"),
        ({"no_probe": True}, TypeError, "harness.evaluate has no option `no_probe`; did you mean `probe`?"),
        ({"limit": 0}, ValueError, "limit: Input should be greater than or equal to 1 (it is 0)"),
        ({"limit": "few"}, ValueError, "limit: Input should be a valid integer"),
        ({"batch_size": "many"}, ValueError, "batch_size: "),
        ({"readout": "linear,quadratic"}, ValueError, "readout: 'linear,quadratic' names no readout"),
        ({"readout": ()}, ValueError, "readout: '' names no readout"),
        ({"device": "gpu"}, ValueError, "device: 'gpu' is no device"),
        ({"engine": "onnx"}, ValueError, "engine: 'onnx' is no engine; there are auto, transformers, vllm"),
        ({"floors": "none"}, ValueError, "floors: Input should be 'all' or 'task'"),
        ({"executor": "slurm"}, ValueError, "executor: 'slurm' is no executor"),
        ({"model_args": "dtype=float32"}, ValueError, "model_args: "),
        ({"yes": "perhaps"}, ValueError, "yes: Input should be a valid boolean"),
        ({"causal": True, "probe": False}, harness.PlanError, "--causal works on watched layers"),
        ({"reference": "zoo/llava-healthy"}, harness.ModelError, "is no image classifier"),
        ({"tasks": "phantm"}, harness.TaskError, "phantm: unknown task; did you mean `phantom`?"),
        ({"tasks": []}, ValueError, "tasks: names nothing"),
        ({"tasks": 3}, TypeError, "tasks: 3 is no name, path or TaskSpec"),
        ({"models": "zoo/llava"}, harness.ModelError, "did you mean `zoo/llava-healthy`?"),
        ({"models": ","}, ValueError, "models: names nothing"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    options: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    asked = {"tasks": "phantom-200", "models": "zoo/llava-healthy", "dry_run": True, **options}
    with pytest.raises(error) as caught:
        harness.evaluate(output=tmp_path, **asked)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
