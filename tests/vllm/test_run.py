"""Whole runs with vLLM answering: on its own, and with transformers watching the layers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.harness.conftest import harness, read_json, read_lines, result

pytest.importorskip("vllm")

MODEL = "zoo/qwen2.5-vl-healthy"
FOLDER = "zoo--qwen2.5-vl-healthy"


def evaluate(folder: Path, output: str, *options: str) -> Path:
    if "--tasks" not in options:
        options = ("--tasks", "phantom-200", *options)
    done = harness("eval", "--models", MODEL, "--output", output, *options, folder=folder, alone=True)
    assert done.returncode == 0, done.stderr
    return result(folder / output, FOLDER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def test_vllm_answers_and_transformers_watches(folder):
    few = ("--floors", "task", "--no-answer-target")
    fast = evaluate(folder, "fast", *few, "--engine", "vllm", "--model-args", "enforce_eager=true")
    slow = evaluate(folder, "slow", *few)
    one, two = (read_json(path / "record.json") for path in (fast, slow))
    assert (one["model"]["engine"], one["model"]["watched_by"]) == ("vllm", "transformers")
    parity = one["model"]["parity"]
    assert (parity["images"], parity["top1_agreement"], parity["same_text"]) == (8, 1.0, 1.0)
    assert parity["largest_difference"] < 1e-3
    assert two["model"]["parity"] is None
    assert one["diagnosis"]["verdict"] == two["diagnosis"]["verdict"]
    for a, b in zip(*(read_lines(path / "samples.jsonl") for path in (fast, slow)), strict=True):
        np.testing.assert_allclose(a["scores"], b["scores"], atol=1e-3)
        assert a["text"] == b["text"]
    assert one["probes"] == two["probes"]  # of the same features


def test_answers_alone_are_compared_before_they_count(folder):
    limits = ("--no-probe", "--limit", "20", "--model-args", "enforce_eager=true")
    done = evaluate(folder, "alone", "--tasks", "phantom-200,phantom", "--engine", "vllm", *limits)
    record = read_json(done / "record.json")
    assert record["model"]["watched_by"] is None
    assert record["model"]["parity"]["top1_agreement"] == 1.0
    assert record["health"] is None
    second = read_json(done.parent / "phantom" / "record.json")["model"]["parity"]
    assert "another task" in second["detail"]  # the engine it was compared with is gone by then


def test_models_check_compares_the_engines(folder):
    done = harness(
        *("models", "check", MODEL, "--engine", "vllm", "--model-args", "enforce_eager=true", "--json"),
        folder=folder,
        alone=True,
    )
    assert done.returncode == 0, done.stderr
    findings = {f["check"]: f for f in json.loads(done.stdout)[0]["findings"]}
    assert findings["engine parity"]["passed"] is True
    assert "the same label on 100% of 3 pictures" in findings["engine parity"]["detail"]
