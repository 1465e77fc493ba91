"""The answer-target probe and the layer checks of a whole run, computed again from its files."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from leaderboard.record.record import read_record
from leaderboard.record.samples import ProbeLine, SampleLine
from leaderboard.record.samples import read_lines as read_checked
from leaderboard.scoring.letters import score_answer_target
from leaderboard.scoring.probes import connector_inert
from probes.stats.similarity import linear_cka
from tests.harness.conftest import RUN, harness, read_json, read_lines, result


def test_the_answer_target_follows_from_its_lines(finished: Path) -> None:
    folder = result(finished)
    record = read_json(folder / "record.json")
    lines = [
        line
        for line in read_lines(folder / "probes.jsonl")
        if (line["readout"], line["split"]) == ("answer_target", "test")
    ]
    layers = [probe for probe in record["probes"] if (probe["module"], probe["pool"]) == ("llm", "last")]
    assert [part["site"] for part in record["answer_target"]] == [probe["site"] for probe in layers]
    for part, line in zip(record["answer_target"], lines, strict=True):
        asked = [(p, t) for p, t in zip(line["predictions"], line["targets"], strict=True) if t >= 0]
        assert part["site"] == line["site"]
        assert part["prompt"] == "letters"
        assert part["accuracy"]["value"] == pytest.approx(np.mean([p == t for p, t in asked]))
        assert part["accuracy"]["n"] == len(asked)
        assert part["majority"] == pytest.approx(max(Counter(t for _, t in asked).values()) / len(asked))
        best = [int(np.argmax(scores)) for scores, t in zip(line["scores"], line["targets"], strict=True)]
        assert best == line["predictions"]


def test_a_verifier_needs_the_lines_alone(finished: Path) -> None:
    folder = result(finished)
    record = read_record(folder / "record.json")
    lines = tuple(read_checked(folder / "probes.jsonl", ProbeLine))
    test = [line for line in read_checked(folder / "samples.jsonl", SampleLine) if line.split == "test"]
    assert score_answer_target(lines, test, "letters") == record.answer_target
    labels, groups = np.array([line.label for line in test]), [line.group for line in test]
    assert record.similarity is not None
    assert record.similarity.connector_inert == connector_inert(lines, labels, groups, 5)


def test_no_class_score_counts_letters(finished: Path) -> None:
    record = read_json(result(finished) / "record.json")
    assert {probe["readout"] for probe in record["probes"]} == {"linear"}
    assert set(record["health"]["by_readout"]) == {"linear"}


def test_similarity_is_that_of_the_stored_features(finished: Path) -> None:
    folder = result(finished)
    record = read_json(folder / "record.json")
    part = record["similarity"]
    arrays = load_file(folder / "features.safetensors")
    test = [line["split"] == "test" for line in read_lines(folder / "samples.jsonl")]
    (used,) = [probe["site"] for probe in record["probes"] if probe["consumed"]]
    assert part["sites"] == [f"{used}.mean", "connector.00.mean"]
    assert part["images"] == sum(test) <= 1000
    x, y = (arrays[key][test] for key in part["sites"])
    assert part["cka"] == pytest.approx(linear_cka(x, y), abs=1e-9)
    assert part["cka_debiased"] <= part["cka"] <= 1
    assert part["knn_chance"] < part["knn_overlap"] <= 1
    assert record["projection"] is None  # all layers of this model are of one small width


def test_without_the_answer_target_the_rest_stays(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "out")
    done = harness("eval", *RUN, "--output", "out", "--no-answer-target", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    whole, plain = (read_json(result(folder) / "record.json") for folder in (finished, tmp_path / "out"))
    assert plain["answer_target"] is None
    assert {
        k: v for k, v in plain.items() if k not in ("answer_target", "configuration", "cost", "provenance")
    } == {k: v for k, v in whole.items() if k not in ("answer_target", "configuration", "cost", "provenance")}
    lines = read_lines(result(tmp_path / "out") / "probes.jsonl")
    assert {line["readout"] for line in lines} == {"linear", "floor"}
