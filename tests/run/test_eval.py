"""The main job from end to end: one command, the built-in model, generated images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from leaderboard.record import read_record
from tests.run.conftest import RUN, comparable, harness, read_json, read_lines, result


def test_run_files_a_valid_record(finished: Path) -> None:
    record = read_record(result(finished) / "record.json")
    assert record.status == "complete"
    assert record.model.architecture == "LlavaForConditionalGeneration"
    assert record.answers is not None
    assert record.health is not None
    assert record.answers.accuracy.value > record.answers.majority_accuracy + 0.1


def test_scores_follow_from_samples(finished: Path) -> None:
    folder = result(finished)
    record = read_json(folder / "record.json")
    test = [line for line in read_lines(folder / "samples.jsonl") if line["split"] == "test"]
    labels = [line["label"] for line in test]
    predicted = [line["predicted"] for line in test]
    assert predicted == [int(np.argmax(line["scores"])) for line in test]
    scores = np.array([line["scores"] for line in test])
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    answers = record["answers"]
    assert answers["accuracy"]["value"] == pytest.approx(np.mean(np.array(labels) == predicted))
    assert answers["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert answers["macro_f1"]["value"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert answers["auroc"]["value"] == pytest.approx(
        roc_auc_score(labels, shares, multi_class="ovr", average="macro"), abs=1e-9
    )


def test_probe_lines_carry_the_recorded_accuracy(finished: Path) -> None:
    folder = result(finished)
    record = read_json(folder / "record.json")
    labels = np.array(
        [line["label"] for line in read_lines(folder / "samples.jsonl") if line["split"] == "test"]
    )
    lines = {
        (line["site"], line["pool"]): line
        for line in read_lines(folder / "probes.jsonl")
        if line["split"] == "test" and line["readout"] == "linear"
    }
    assert len(lines) == len(record["probes"])
    for probe in record["probes"]:
        predicted = np.array(lines[(probe["site"], probe["pool"])]["predictions"])
        assert probe["accuracy"]["value"] == pytest.approx((predicted == labels).mean())
        assert probe["accuracy"]["low"] <= probe["accuracy"]["value"] <= probe["accuracy"]["high"]


def test_every_site_is_watched_and_one_vision_layer_is_consumed(finished: Path) -> None:
    record = read_json(result(finished) / "record.json")
    seen = {(p["module"], p["pool"]) for p in record["probes"]}
    assert seen == {("vision", "mean"), ("connector", "mean"), ("llm", "mean"), ("llm", "last")}
    assert [p["site"] for p in record["probes"] if p["consumed"]] == ["vision.03"]
    profile = record["health"]["profile"]
    assert profile[3] == record["answers"]["accuracy"]["value"]
    assert all(math.isfinite(value) for value in profile)


def test_features_are_ordinary_safetensors(finished: Path) -> None:
    folder = result(finished)
    record = read_json(folder / "record.json")
    images = len(read_lines(folder / "samples.jsonl"))
    arrays = load_file(folder / "features.safetensors")
    assert len(arrays) == len(record["probes"])
    for array in arrays.values():
        assert array.shape[0] == images
        assert np.isfinite(array).all()
        assert (np.abs(array).sum(axis=1) > 0).all()  # every row was written


def test_leaderboard_collects_the_record(finished: Path) -> None:
    board = read_json(finished / "leaderboard.json")
    record = read_json(result(finished) / "record.json")
    (entry,) = board["entries"]
    assert entry["accuracy"] == record["answers"]["accuracy"]
    assert entry["profile"] == record["health"]["profile"]


def test_again_does_nothing_and_ends_well(finished: Path) -> None:
    before = (result(finished) / "record.json").read_bytes()
    again = harness("eval", *RUN, "--output", str(finished), folder=finished)
    assert again.returncode == 0, again.stderr
    assert "done before" in again.stderr
    assert (result(finished) / "record.json").read_bytes() == before


def test_two_runs_give_the_same_record(finished: Path, tmp_path: Path) -> None:
    done = harness("eval", *RUN, "--output", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = (read_json(result(folder) / "record.json") for folder in (finished, tmp_path / "out"))
    assert comparable(one) == comparable(two)


def test_batch_size_changes_no_answer(finished: Path, tmp_path: Path) -> None:
    done = harness("eval", *RUN, "--output", "out", "--batch-size", "3", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = (read_lines(result(folder) / "samples.jsonl") for folder in (finished, tmp_path / "out"))
    for a, b in zip(one, two, strict=True):
        assert np.allclose(a["scores"], b["scores"], atol=1e-4)
        assert a["text"] == b["text"]
        top, second = sorted(a["scores"], reverse=True)[:2]
        if top - second > 2e-4:
            assert a["predicted"] == b["predicted"]


def test_limit_is_partial_and_ranks_behind(tmp_path: Path) -> None:
    done = harness("eval", *RUN, "--output", "out", "--limit", "10", "--no-probe", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    record = read_json(result(tmp_path / "out") / "record.json")
    assert record["status"] == "partial"
    assert record["answers"]["accuracy"]["n"] == 10
    assert record["health"] is None
    assert record["probes"] == []


def test_another_configuration_is_refused(finished: Path) -> None:
    other = harness("eval", *RUN, "--output", str(finished), "--limit", "10", folder=finished)
    assert other.returncode == 1
    assert "options.limit" in other.stderr
    assert "--overwrite" in other.stderr


def test_report_is_one_page_that_asks_for_nothing(finished: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = harness("report", str(result(finished)), "--output", str(page), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text
    assert "zoo/llava-healthy" in text
    assert not any(mark in text for mark in ("<script src", "<link", "@import", 'src="http'))
