"""Whole runs against a real OpenAI-compatible server on loopback, well-behaved and not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.data.dataset import Dataset
from harness.data.sources import load_dataset
from tasks.catalog import load
from tests.harness.conftest import harness, read_json, read_lines, result
from tests.model_adapters.tiny.openai_server import ColourServer, probabilities

IMAGES = 24
FAULTS = ("500", "garbage", "no-logprobs", "timeout")  # of the first test images, one each


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(load("phantom-200"), limit=IMAGES)


@pytest.fixture
def server(dataset: Dataset) -> Iterator[ColourServer]:
    with ColourServer([c.wording for c in dataset.task.classes]) as running:
        yield running


def write_card(folder: Path, server: ColourServer, **keys) -> None:
    endpoint = {
        "base_url": server.base_url,
        "model": "tiny",
        "attempts": 2,
        "timeout_seconds": 2,
        "input_price": 2.0,
        "output_price": 10.0,
    }
    card = {"name": "served", "engine": "openai", "endpoint": endpoint, **keys}
    (folder / "served.yaml").write_text(yaml.safe_dump(card))


def evaluate(folder: Path, *options: str):
    return harness(
        "eval",
        *("--tasks", "phantom-200", "--models", "served.yaml", "--limit", str(IMAGES), "--output", "out"),
        *options,
        folder=folder,
    )


def truth(server: ColourServer, dataset: Dataset) -> dict[str, int]:
    """Return the class of each test image that the server's model names, worked out by hand."""
    words = [c.wording for c in dataset.task.classes]
    found = {}
    for sample in dataset.split("test"):
        by_word = probabilities(dataset.read(sample), server.behaviour.colours)
        found[sample.id] = words.index(max(by_word, key=lambda word: by_word[word]))
    return found


@pytest.fixture(scope="module")
def faulty(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory):
    """A run against a server that fails for some images: the server, what it prints, and the result's folder."""
    folder = tmp_path_factory.mktemp("faulty")
    with ColourServer([c.wording for c in dataset.task.classes]) as server:
        write_card(folder, server)
        for fault, sample in zip(FAULTS, dataset.split("test"), strict=False):
            server.misbehave(fault, dataset.read(sample))
        server.misbehave(
            "429", dataset.read(dataset.split("test")[5]), times=1
        )  # heals on the second attempt
        done = evaluate(folder)
    assert done.returncode == 0, done.stderr
    return server, done, result(folder / "out", "served")


def test_faults_are_errors_of_their_images_and_never_a_wrong_label(faulty, dataset):
    server, _, folder = faulty
    lines = {line["id"]: line for line in read_lines(folder / "samples.jsonl")}
    failed = {sample.id for sample in dataset.split("test")[: len(FAULTS)]}
    assert {i for i, line in lines.items() if line["outcome"] == "error"} == failed
    assert all(lines[i]["predicted"] is None for i in failed)
    right = truth(server, dataset)
    assert {i: line["predicted"] for i, line in lines.items() if i not in failed} == {
        i: cls for i, cls in right.items() if i not in failed
    }
    outcomes = read_json(folder / "record.json")["answers"]["outcomes"]
    assert (outcomes["error"], sum(outcomes.values())) == (len(FAULTS), IMAGES)


def test_a_record_of_answers_alone_says_what_it_cost(faulty, dataset):
    server, done, folder = faulty
    assert "the engine openai shows no layers: answers alone" in done.stderr
    record = read_json(folder / "record.json")
    assert record["model"]["engine"] == "openai"
    assert record["model"]["revision"].startswith("server:")
    assert (record["health"], record["probes"], record["diagnosis"]) == (None, [], None)
    assert record["answers"]["headline_source"] == "scores"
    assert record["answers"]["letters_accuracy"] is not None
    usage = record["cost"]["usage"]
    pictures = {dataset.read(sample).tobytes() for sample in dataset.split("test")}
    about = [asked.image.tobytes() in pictures for asked in server.questions]
    arrived = len(about[about.index(True) :])  # from the first question of the run on
    assert usage["retries"] > 0
    assert usage["failures"] > 0
    # A request that ran out of time before the server read it was made, but never arrived.
    assert arrived <= usage["requests"] <= arrived + usage["retries"] + usage["failures"]
    price = 2.0 * usage["input_tokens"] / 1e6 + 10.0 * usage["output_tokens"] / 1e6
    assert usage["cost"] == pytest.approx(price)
    assert f"{usage['requests']} requests" in done.stdout
    assert server.base_url not in (folder / "record.json").read_text()


def test_a_server_without_log_probabilities_is_judged_by_what_it_writes(dataset, tmp_path):
    words = [c.wording for c in dataset.task.classes]
    with ColourServer(words, gives_logprobs=False) as server:
        write_card(tmp_path, server)
        done = evaluate(tmp_path)
        assert done.returncode == 0, done.stderr
        record = read_json(result(tmp_path / "out", "served") / "record.json")
        lines = read_lines(result(tmp_path / "out", "served") / "samples.jsonl")
        assert record["answers"]["headline_source"] == "generated"
        assert {line["id"]: line["predicted"] for line in lines} == truth(server, dataset)


def test_any_model_can_be_asked_of_a_server_named_on_the_command_line(server, dataset, tmp_path):
    arguments = f"base_url={server.base_url},model=tiny"
    done = harness(
        *("eval", "--tasks", "phantom-200", "--models", "clinic/model-7b", "--engine", "openai"),
        *("--model-args", arguments, "--limit", str(IMAGES), "--output", "out"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = read_lines(result(tmp_path / "out", "clinic--model-7b") / "samples.jsonl")
    assert {line["id"]: line["predicted"] for line in lines} == truth(server, dataset)


def test_a_server_that_is_not_there_is_one_line(server, tmp_path):
    write_card(tmp_path, server)
    server.stop()
    done = evaluate(tmp_path)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "failed" in line]
    assert server.base_url in line
    assert "Traceback" not in done.stderr
