"""The main job from end to end: one command, the built-in model, generated images."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from leaderboard.record.record import read_record
from leaderboard.record.samples import ProbeLine, SampleLine
from leaderboard.record.samples import read_lines as lines_of
from leaderboard.scoring.score import Declared, Lines, score
from tasks import catalog
from tests.harness.conftest import RUN, comparable, harness, read_json, read_lines, result


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


def test_a_verdict_is_given_and_every_floor_measured(finished: Path) -> None:
    record = read_record(result(finished) / "record.json")
    found, floors = record.diagnosis, record.floors
    assert found is not None
    assert floors is not None
    assert [drop.mode for drop in found.drops] == ["vision", "connector", "comprehension", "mapping"]
    lost = found.levels["reference"] - found.levels["answers"]
    assert sum(drop.value for drop in found.drops) == pytest.approx(lost)
    assert found.sentences is not None
    assert all(sentence.endswith(".") for sentence in found.sentences)
    assert found.reference == floors.reference.detail
    assert floors.reference.balanced_accuracy.value > floors.pixels.balanced_accuracy.value
    assert floors.pixels.balanced_accuracy.value > floors.majority.balanced_accuracy.high
    assert floors.blank is not None
    assert floors.random_vision is not None
    vision = [p for p in record.probes if (p.module, p.pool) == ("vision", "mean")]
    assert [layer.site for layer in floors.random_vision] == [p.site for p in vision]
    assert vision[-1].balanced_accuracy.low > floors.random_vision[-1].balanced_accuracy.value
    assert record.permutation is not None
    assert set(record.permutation.bands) == {f"{p.site}.{p.pool}" for p in record.probes}


def test_a_record_follows_from_its_lines_and_declared_p_values(finished: Path) -> None:
    """As a verifier would compute it, without the model and without torch."""
    folder = result(finished)
    record = read_record(folder / "record.json")
    lines = Lines(
        list(lines_of(folder / "samples.jsonl", SampleLine)),
        list(lines_of(folder / "probes.jsonl", ProbeLine)),
    )
    found = score(lines, Declared.of(record, catalog.load(record.task.name)))
    assert record.floors is not None
    assert found.floors is not None
    assert found.floors.model_copy(update={"blank": record.floors.blank}) == record.floors
    for name, part in vars(found).items():
        assert name == "floors" or part == getattr(record, name), name


def test_a_record_of_another_judgement_is_judged_anew(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "out")
    path = result(tmp_path / "out") / "record.json"
    before = read_json(path)
    other = read_json(path)
    other["configuration"]["judgement"]["diagnosis"]["delta"] = 0.5
    other["diagnosis"]["verdict"] = "mapping"
    path.write_text(json.dumps(other), encoding="utf-8")
    stored = read_lines(path.parent / "store" / "answers.jsonl")
    done = harness("eval", *RUN, "--output", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert comparable(read_json(path)) == comparable(before)
    assert read_lines(path.parent / "store" / "answers.jsonl") == stored  # and nothing was asked again
    assert "verdict" in done.stdout
    assert before["diagnosis"]["verdict"] in done.stdout
    (spoken,) = [line for line in done.stderr.splitlines() if "; in all" in line]
    assert "load " in spoken  # loading always takes the tenth of a second that is worth saying


def test_floors_of_the_task_alone(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "out")
    done = harness("eval", *RUN, "--output", "out", "--floors", "task", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    whole, record = (read_json(result(folder) / "record.json") for folder in (finished, tmp_path / "out"))
    assert (record["floors"]["blank"], record["floors"]["random_vision"]) == (None, None)
    assert "--floors task" in record["floors"]["random_vision_detail"]
    assert record["floors"]["reference"] == whole["floors"]["reference"]
    assert record["diagnosis"] == whole["diagnosis"]


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


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run about some of the images, in another batch size, without probes. Returns the result's folder."""
    folder = tmp_path_factory.mktemp("few")
    limits = ("--batch-size", "3", "--limit", "40", "--no-probe")
    done = harness("eval", *RUN, "--output", "out", *limits, folder=folder)
    assert done.returncode == 0, done.stderr
    return result(folder / "out")


def test_batch_size_changes_no_answer(finished: Path, few: Path) -> None:
    lines = read_lines(result(finished) / "samples.jsonl")
    whole = {line["id"]: line for line in lines if line["split"] == "test"}
    asked = read_lines(few / "samples.jsonl")
    assert len(asked) == 40
    for b in asked:
        a = whole[b["id"]]
        assert np.allclose(a["scores"], b["scores"], atol=1e-4)
        assert a["text"] == b["text"]
        top, second = sorted(a["scores"], reverse=True)[:2]
        if top - second > 2e-4:
            assert a["predicted"] == b["predicted"]


def test_a_limit_is_partial_and_without_probes_there_is_nothing_of_the_layers(few: Path) -> None:
    record = read_json(few / "record.json")
    assert record["status"] == "partial"
    assert record["answers"]["accuracy"]["n"] == 40
    assert record["health"] is None
    assert record["probes"] == []
    assert record["floors"] is None
    assert record["diagnosis"] is None


def test_another_configuration_is_refused(finished: Path) -> None:
    other = harness("eval", *RUN, "--output", str(finished), "--limit", "10", folder=finished)
    assert other.returncode == 1
    assert "options.limit" in other.stderr
    assert "--overwrite" in other.stderr


def test_report_is_one_page_that_asks_for_nothing(finished: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = harness("report", str(result(finished)), "--output", str(page), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8").replace(
        '<link rel="icon" href="data:,">', ""
    )  # none is asked for
    assert "<svg" in text
    assert "zoo/llava-healthy" in text
    assert not any(mark in text for mark in ("<script src", "<link", "@import", 'src="http'))
