from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.run.collect import collect
from leaderboard.record.parts import Interval
from leaderboard.record.record import Record, RecordError, dump_record, read_record
from leaderboard.record.samples import Asked, SampleLine, dump_lines, read_lines


def interval(value: float, n: int = 10) -> dict[str, Any]:
    return {"value": value, "low": max(0.0, value - 0.1), "high": min(1.0, value + 0.1), "n": n}


def record_of(**changes: Any) -> dict[str, Any]:
    """A small record as it stands in the file; `accuracy` sets the headline."""
    accuracy = changes.pop("accuracy", 0.5)
    outcomes = {"correct": 5, "wrong": 4, "no_answer": 1, "error": 0}
    return {
        "schema_version": 1,
        "status": "complete",
        "error": None,
        "model": {
            "name": changes.pop("name", "m"),
            "hub_id": None,
            "revision": "0",
            "architecture": "Llava",
            "parameters": 3,
            "engine": "transformers",
            "dtype": "float32",
        },
        "task": {
            "name": changes.pop("task_name", "t"),
            "version": 1,
            "classes": ["a", "ü"],
            "dataset_fingerprint": "f",
            "official_data": True,
            "n_train": 20,
            "n_val": 10,
            "n_test": 10,
            "grouped_by": "image",
            "dropped_train": 0,
            "dropped_val": 0,
            "val_cut_from_train": 0,
        },
        "condition": "released",
        "answers": {
            "accuracy": interval(accuracy),
            "balanced_accuracy": interval(accuracy),
            "macro_f1": interval(accuracy),
            "auroc": None,
            "ece": None,
            "headline_source": "scores",
            "outcomes": outcomes,
            "generated_accuracy": None,
            "generated_outcomes": None,
            "letters_accuracy": None,
            "order_consistency": None,
            "prompt_accuracies": {"free": interval(accuracy)},
            "prompt_spread": None,
            "majority_accuracy": 0.5,
        },
        "health": None,
        "probes": [],
        "permutation": None,
        "diagnosis": None,
        "configuration": {"seed": 0, "nested": {"list": [1, 2]}},
        "cost": {
            "seconds": {"total": 1.5},
            "images_per_second": None,
            "peak_memory_bytes": None,
            "device": "cpu",
        },
        "provenance": {
            "harness_version": "0",
            "git": None,
            "python": "3.12",
            "packages": {},
            "command": "harness eval",
            "seed": 0,
            "started": "2025-01-01T00:00:00Z",
            "finished": "2025-01-01T00:00:01Z",
        },
        **changes,
    }


def write(folder: Path, content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "record.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@given(accuracy=st.floats(0, 1))
def test_a_record_is_read_back_as_it_was_written(tmp_path_factory, accuracy: float) -> None:
    record = Record.model_validate(record_of(accuracy=accuracy))
    path = tmp_path_factory.mktemp("record") / "record.json"
    text = dump_record(record)
    path.write_text(text, encoding="utf-8")
    assert read_record(path) == record
    assert dump_record(read_record(path)) == text
    assert json.loads(text)["answers"]["accuracy"]["value"] == accuracy  # as any reader of JSON sees it
    assert "ü" in text


def without(key: str) -> dict[str, Any]:
    content = record_of()
    del content["answers"][key]
    return content


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (without("macro_f1"), r"answers\.macro_f1: Field required"),
        (record_of(verdict="healthy"), "verdict: Extra inputs are not permitted"),
        (record_of(status="done"), "status: Input should be 'complete', 'partial' or 'failed'"),
        (record_of(schema_version=2), "schema_version: "),
        (record_of(accuracy=float("nan")), r"answers\.accuracy\.value: Input should be a finite number"),
        ([], "the file: "),
    ],
)
def test_a_record_that_breaks_the_schema_is_named_with_its_key(
    tmp_path: Path, content: Any, named: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(RecordError, match=rf"record\.json: {named}") as caught:
        read_record(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b'{"status": "\xff"}', b"\x00\x01"])
def test_a_file_that_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"record\.json: the file: "):
        read_record(path)


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"record\.json: cannot be read .* is this a result folder\?"):
        read_record(tmp_path / "record.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Interval(value=value, low=0, high=1, n=3)


SCORES = st.tuples(st.floats(-99, 0), st.floats(-99, 0))
SAMPLES = st.builds(
    SampleLine,
    id=st.text(min_size=1),  # ids come from file names: any character, line separators too
    split=st.sampled_from(["train", "val", "test"]),
    pixel_hash=st.just("0"),
    label=st.integers(0, 1),
    group=st.text(),
    scores=st.none() | SCORES,
    scores_normalised=st.none() | SCORES,
    predicted=st.none() | st.integers(0, 1),
    text=st.none() | st.text(),
    read=st.none() | st.integers(0, 1),
    outcome=st.sampled_from(["correct", "wrong", "no_answer", "error"]),
    generated_outcome=st.none(),
    orders=st.lists(
        st.builds(
            Asked, prompt=st.just("letters"), order=st.just((1, 0)), scores=SCORES, predicted=st.just(1)
        ),
        max_size=2,
    ).map(tuple),
)


@given(st.lists(SAMPLES, max_size=4))
def test_sample_lines_are_read_back_as_they_were_written(tmp_path_factory, lines: list[SampleLine]) -> None:
    path = tmp_path_factory.mktemp("lines") / "samples.jsonl"
    path.write_text(dump_lines(lines), encoding="utf-8")
    assert list(read_lines(path, SampleLine)) == lines
    assert len(path.read_bytes().splitlines()) == len(lines)


@pytest.mark.parametrize("content", [b'{"prompt": 3}\n', b"\xff\n", b"\n"])
def test_a_broken_line_is_named_by_its_number(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "samples.jsonl"
    good = dump_lines([Asked(prompt="p", order=(0, 1), scores=None, predicted=None)]).encode()
    path.write_bytes(good + content)
    with pytest.raises(RecordError, match=r"samples\.jsonl:2: "):
        list(read_lines(path, Asked))


def test_a_missing_file_of_lines_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"probes\.jsonl: cannot be read"):
        list(read_lines(tmp_path / "probes.jsonl", Asked))


def test_the_board_is_sorted_by_task_then_accuracy_with_partial_records_last(tmp_path: Path) -> None:
    write(tmp_path / "low" / "t", record_of(name="low", accuracy=0.2))
    write(tmp_path / "high" / "t", record_of(name="high", accuracy=0.9))
    write(tmp_path / "part" / "t", record_of(name="part", accuracy=1.0, status="partial"))
    write(tmp_path / "low" / "s", record_of(name="low", accuracy=0.1, task_name="s"))
    board = json.loads(collect(tmp_path).read_text(encoding="utf-8"))
    assert [(entry["task"], entry["model"]) for entry in board["entries"]] == [
        ("s", "low"),
        ("t", "high"),
        ("t", "low"),
        ("t", "part"),
    ]
    assert board["entries"][1]["folder"] == "high/t"


def test_a_broken_record_keeps_the_old_board(tmp_path: Path) -> None:
    write(tmp_path / "m" / "t", record_of())
    before = collect(tmp_path).read_bytes()
    write(tmp_path / "n" / "t", {"status": "complete"})
    with pytest.raises(RecordError, match=r"n/t/record\.json"):
        collect(tmp_path)
    assert (tmp_path / "leaderboard.json").read_bytes() == before
