"""Whole studies through the command line: killed and started again, with holes, and what they write."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.harness.conftest import harness, read_json, read_lines
from tests.harness.study.small import MODEL, study_yaml

RESULT = "zoo--llava-healthy"


def written(output: Path) -> dict[str, bytes]:
    """Return every table, figure and the page of a study, by name."""
    files = [*(output / "tables").iterdir(), *(output / "figures").iterdir(), output / "study.md"]
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def table(output: Path, name: str) -> list[dict[str, str]]:
    with (output / "tables" / f"{name}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def states(output: Path) -> dict[tuple[str, str, str], str]:
    cells = read_json(output / "state.json")["cells"]
    return {(cell["model"], cell["task"], cell["condition"]): cell["state"] for cell in cells}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A study with two impossible cells, done in one go: its output, and what the command said."""
    folder = tmp_path_factory.mktemp("study")
    study_yaml(folder, models=[MODEL, "no-such-model"])
    done = harness("study", "study.yaml", "--output", "out", "--offline", folder=folder)
    return folder / "out", done


def test_the_rest_is_done_and_a_hole_is_listed(finished) -> None:
    output, done = finished
    assert done.returncode == 1, done.stderr  # it was named outright
    assert states(output) == {
        (MODEL, "small", "released"): "done",
        (MODEL, "small", "lora"): "done",
        ("no-such-model", "small", "released"): "hole",
        ("no-such-model", "small", "lora"): "hole",
    }
    holes = table(output, "holes")
    assert [(row["model"], row["condition"]) for row in holes] == [
        ("no-such-model", "released"),
        ("no-such-model", "lora"),
    ]
    assert all("no-such-model" in row["reason"] for row in holes)
    assert "2 of 4 cells have a result" in (output / "study.md").read_text()
    assert "Traceback" not in done.stderr


def test_the_tables_say_what_the_records_say(finished) -> None:
    output, _ = finished
    rows = {row["condition"]: row for row in table(output, "cells")}
    for condition, name in (("released", RESULT), ("lora", f"{RESULT}@lora")):
        record = read_json(output / "results" / name / "small" / "record.json")
        row = rows[condition]
        assert float(row["accuracy"]) == pytest.approx(record["answers"]["accuracy"]["value"])
        assert float(row["fhs_llm_low"]) == pytest.approx(record["health"]["llm"]["low"])
        layers = [line for line in table(output, "layers") if line["condition"] == condition]
        assert len(layers) == len(record["probes"])
    assert rows["lora"]["probes_saw_tuned_images"] == "0"


def test_released_and_tuned_are_probed_on_the_same_images(finished) -> None:
    output, _ = finished
    ids = []
    for name in (RESULT, f"{RESULT}@lora"):
        lines = read_lines(output / "results" / name / "small" / "samples.jsonl")
        ids.append([(line["split"], line["id"]) for line in lines])
    assert ids[0] == ids[1]
    assert sum(split == "train" for split, _ in ids[0]) == 30


def test_every_question_is_answered_with_a_test(finished) -> None:
    output, _ = finished
    rows = table(output, "contrasts")
    assert {row["question"] for row in rows} == {
        "fine-tuned against released",
        "best layer against consumed layer",
        "probe against answer",
    }
    for row in rows:
        assert row["conclusion"] in ("higher", "lower", "undetermined")
        assert float(row["difference_low"]) <= float(row["difference"]) <= float(row["difference_high"])
        assert float(row["p"]) <= float(row["p_holm"]) <= 1
    assert {"layers-small-linear.png", "accuracy.svg"} <= {p.name for p in (output / "figures").iterdir()}


def test_a_study_that_was_killed_ends_in_the_same_files(finished, tmp_path: Path) -> None:
    output, _ = finished
    study_yaml(tmp_path, models=[MODEL, "no-such-model"])
    for stop in ("running", "tuning"):
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", "study", "study.yaml", "--output", "out", "--offline"],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        state = tmp_path / "out" / "state.json"
        while process.poll() is None and not (state.exists() and stop in states(tmp_path / "out").values()):
            time.sleep(0.01)
        time.sleep(1.0)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = harness("study", "study.yaml", "--output", "out", "--offline", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert written(tmp_path / "out") == written(output)


def test_a_study_that_is_done_has_nothing_to_do(finished) -> None:
    output, _ = finished
    before = written(output)
    again = harness("study", "study.yaml", "--output", "out", "--offline", folder=output.parent)
    assert again.returncode == 1
    assert again.stderr.count("done before, nothing to do") == 2
    assert written(output) == before


def test_bad_usage_is_one_line(tmp_path: Path) -> None:
    missing = harness("study", "nowhere.yaml", folder=tmp_path)
    assert missing.returncode == 2
    assert "nowhere.yaml" in missing.stderr
    study_yaml(tmp_path, conditions=["tuned"])
    wrong = harness("study", "study.yaml", folder=tmp_path)
    assert wrong.returncode == 2
    assert "study.yaml:8: conditions[0]: `tuned`" in wrong.stderr
    assert len(wrong.stderr.strip().splitlines()) == 1
    study_yaml(tmp_path, finetuning={"settings": {"rank": 0}})
    meaningless = harness("study", "study.yaml", folder=tmp_path)
    assert meaningless.returncode == 2
    assert "rank is 0" in meaningless.stderr
    assert not (tmp_path / "study-results").exists()
