"""Whole runs of a traditional reference: trained on the task, asked the primary prompt, filed as a reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.harness.conftest import comparable, harness, read_json, read_lines, result

TINY = {
    "name": "reference/tiny",
    "title": "a tiny ResNet",
    "engine": "image_classifier",
    "groups": ["reference"],
    "classifier": {
        "kind": "resnet",
        "family": "cnn",
        "image_size": 32,
        "configuration": {
            "embedding_size": 8,
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "layer_type": "basic",
        },
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the card of a small classifier, and one run of it."""
    folder = tmp_path_factory.mktemp("references")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    done = evaluate(folder, "one")
    assert done.returncode == 0, done.stderr
    return folder


def evaluate(folder: Path, output: str, *options: str, cache: str = "cache-one"):
    return harness(
        *("eval", "--tasks", "phantom-200", "--models", "tiny.yaml", "--model-args", "steps=30"),
        *("--output", output, *options),
        folder=folder,
        HARNESS_CACHE_DIR=str(folder / cache),
    )


def test_it_stands_as_a_reference_with_answers_alone(folder):
    record = read_json(result(folder / "one", "reference--tiny") / "record.json")
    assert (record["status"], record["model"]["role"]) == ("complete", "reference")
    assert (record["health"], record["diagnosis"], record["probes"]) == (None, None, [])
    answers = record["answers"]
    assert answers["accuracy"]["value"] > 0.3  # chance is 0.2
    assert answers["auroc"] is not None
    for asked_of_a_model_that_reads in ("generated_accuracy", "letters_accuracy", "order_consistency"):
        assert answers[asked_of_a_model_that_reads] is None
    (entry,) = read_json(folder / "one" / "leaderboard.json")["entries"]
    assert entry["role"] == "reference"


def test_scores_are_log_probabilities_and_the_largest_is_the_answer(folder):
    lines = read_lines(result(folder / "one", "reference--tiny") / "samples.jsonl")
    scores = np.array([line["scores"] for line in lines])
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, atol=1e-4)
    assert [line["predicted"] for line in lines] == scores.argmax(axis=1).tolist()
    assert all(line["text"] is None and line["orders"] == [] for line in lines)


def test_trained_anew_or_read_back_the_record_is_the_same(folder):
    first = comparable(read_json(result(folder / "one", "reference--tiny") / "record.json"))
    for output, cache in (("read-back", "cache-one"), ("anew", "cache-two")):
        done = evaluate(folder, output, cache=cache)
        assert done.returncode == 0, done.stderr
        assert comparable(read_json(result(folder / output, "reference--tiny") / "record.json")) == first


def test_its_report_says_what_it_is(folder):
    done = harness("report", str(result(folder / "one", "reference--tiny")), folder=folder)
    assert done.returncode == 0, done.stderr
    page = (result(folder / "one", "reference--tiny") / "report.html").read_text()
    assert "an image classifier that was trained on this task" in page
