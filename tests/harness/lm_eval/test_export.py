"""Exported tasks hold the pixels, questions and labels that `harness eval` asks with."""

from __future__ import annotations

import glob
import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from harness.cli.tasks import tasks
from harness.data.sources import load_dataset
from harness.lm_eval.export import export_task
from harness.lm_eval.reading import read_answer
from leaderboard.scoring.reading import read_class, wordings_of
from tasks import catalog
from tasks.questions import label_question

pytest.importorskip("datasets")


class _Loader(yaml.SafeLoader):
    """As lm-eval's own, which knows one tag more."""


_Loader.add_constructor("!function", lambda loader, node: f"function {node.value}")


def read_yaml(path: Path) -> dict[str, object]:
    content: dict[str, object] = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    return content


def test_pixels_come_back_as_they_went(tmp_path: Path) -> None:
    from datasets import load_dataset as read

    dataset = load_dataset(catalog.load("phantom-200"), limit=20)
    paths = export_task(dataset, tmp_path / "out")
    assert [path.name for path in paths] == [
        *("phantom-200.parquet", "phantom-200.yaml", "phantom-200_generate.yaml", "phantom-200_exact.yaml")
    ]
    rows = read("parquet", data_files={"test": str(paths[0])}, cache_dir=str(tmp_path / "cache"))["test"]
    samples = dataset.split("test")
    question = label_question(dataset.task, dataset.task.primary)
    assert len(rows) == len(samples) == 20
    for row, sample in zip(rows, samples, strict=True):
        np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(dataset.read(sample)))
        assert (row["id"], row["label"], row["pixel_hash"]) == (sample.id, sample.label, sample.pixel_hash)
        assert row["question"] == f"<image>{question.text}"
        assert row["choices"][row["label"]] == row["answer"] == dataset.task.classes[sample.label].wording


def test_yamls_say_what_lm_eval_needs(tmp_path: Path) -> None:
    dataset = load_dataset(catalog.load("phantom-200"), limit=5)
    parquet, *yamls = export_task(dataset, tmp_path / "a [b]")  # which lm-eval would read as a pattern
    scored, free, exact = map(read_yaml, yamls)
    for content, path in zip((scored, free, exact), yamls, strict=True):
        assert content["task"] == path.stem
        assert glob.glob(content["dataset_kwargs"]["data_files"]["test"]) == [str(parquet)]
        assert content["doc_to_image"] == ["image"]
        assert content["metadata"]["version"] == 2
        assert content["metadata"]["dataset_fingerprint"] == dataset.fingerprint
        assert content["metadata"]["limited_from"] == 200
    assert (scored["output_type"], scored["doc_to_choice"]) == ("multiple_choice", "choices")
    for content in (free, exact):
        assert "doc_to_choice" not in content  # with it lm-eval takes the target for an index
        assert content["generation_kwargs"]["until"] == []
    assert free["process_results"] == "function harness.lm_eval.reading.read_answer"
    assert "process_results" not in exact


def test_the_command_says_what_must_stay_here_and_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "private.yaml").write_text(
        "extends: phantom-200\nid: private\nredistribute_pixels: false\n", encoding="utf-8"
    )
    wanted = ["export", "--format", "lm-eval", "out", "--offline", "--limit", "5"]
    done = CliRunner().invoke(tasks, [*wanted, "--tasks", "private.yaml"], standalone_mode=False)
    assert done.return_value == 0
    assert "private: its licence forbids passing its images on" in done.stderr
    assert read_yaml(tmp_path / "out" / "private.yaml")["metadata"]["redistribute_pixels"] is False

    named = CliRunner().invoke(tasks, [*wanted, "--tasks", "busi,phantom-200"], standalone_mode=False)
    assert named.return_value == 1  # what can be written is written
    assert "busi: not written: " in named.stderr
    assert (tmp_path / "out" / "phantom-200.parquet").is_file()
    matched = CliRunner().invoke(tasks, [*wanted, "--tasks", "bus*,phantom-200"], standalone_mode=False)
    assert matched.return_value == 0
    assert "busi: skipped: " in matched.stderr


@pytest.mark.parametrize("name", catalog.shipped_names())
def test_the_reader_in_lm_eval_is_ours(name: str) -> None:
    task = catalog.load(name)
    texts = [c.wording for c in task.classes] + [f"No {c.wording}." for c in task.classes] + ["?", ""]
    texts.append(" or ".join(c.wording for c in task.classes[:2]))
    document = {"wordings": [[c.name, c.wording, *c.aliases] for c in task.classes]}
    for text in texts:
        read = read_class(text, wordings_of(task))
        for label in range(len(task.classes)):
            found = read_answer({**document, "label": label}, [text])
            assert found == {"acc": float(read == label), "no_answer": float(read is None)}


def test_exporting_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    dataset = load_dataset(catalog.load("phantom-200"), limit=5)
    hashes = []
    for _ in range(2):
        files = export_task(dataset, tmp_path)
        hashes.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert hashes[0] == hashes[1]
