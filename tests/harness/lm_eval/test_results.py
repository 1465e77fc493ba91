"""Results in lm-eval's JSON: its names for what it knows, `harness` for the rest, one model a file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from harness.lm_eval.results import write_results
from leaderboard.record.record import Record, RecordError, dump_record
from leaderboard.record.samples import SampleLine, dump_lines
from tests.harness.full_records import full_record
from tests.leaderboard.lines import sample

RIGHT = [True, True, False, True, False]
READ = ["correct", "no_answer", "wrong", "error", "correct"]
# Keys that readers of lm-eval's results look for.
KEYS = {
    *("results", "configs", "versions", "n-shot", "n-samples", "higher_is_better", "config", "git_hash"),
    *("date", "model_name", "chat_template_sha", "task_hashes", "total_evaluation_time_seconds"),
}


def lines(texts: bool = True) -> list[SampleLine]:
    made = [sample("train", 0, 0, [0.0, -1.0, -2.0], group="t")]
    for number, (right, read) in enumerate(zip(RIGHT, READ, strict=True)):
        scores = [0.0, -1.0, -2.0] if right else [-1.0, 0.0, -2.0]
        free = {"generated_outcome": read, "text": "x"} if texts else {}
        made.append(sample("test", number, 0, scores, group=str(number), **free))
    return made


def folder(place: Path, record: Record | None = None, samples: list[SampleLine] | None = None) -> Path:
    place.mkdir(parents=True)
    made = record or full_record()
    started = {"started": "2026-01-02T03:04:05+00:00", "finished": "2026-01-02T03:05:05+00:00"}
    made = made.model_copy(update={"provenance": made.provenance.model_copy(update=started)})
    (place / "record.json").write_text(dump_record(made), encoding="utf-8")
    (place / "samples.jsonl").write_text(
        dump_lines(lines() if samples is None else samples), encoding="utf-8"
    )
    return place


def named(record: Record, task: str) -> Record:
    return record.model_copy(update={"task": record.task.model_copy(update={"name": task})})


def written(tmp_path: Path, *folders: Path) -> dict:
    return json.loads(write_results(folders, tmp_path / "deep" / "results.json").read_text(encoding="utf-8"))


def test_accuracy_stands_where_lm_eval_has_it(tmp_path: Path) -> None:
    record = full_record()
    found = written(tmp_path, folder(tmp_path / "a"))
    name = record.task.name
    assert set(found) >= KEYS
    scores, free = found["results"][name], found["results"][f"{name}_generate"]
    assert scores["acc,none"] == np.mean(RIGHT)
    assert math.isclose(scores["acc_stderr,none"], np.std(RIGHT, ddof=1) / math.sqrt(len(RIGHT)))
    assert free["acc,none"] == READ.count("correct") / len(READ)  # an unread answer and an error are wrong
    assert free["no_answer,none"] == READ.count("no_answer") / len(READ)
    assert found["n-samples"][name]["effective"] == len(RIGHT)
    assert found["higher_is_better"][f"{name}_generate"] == {"acc": True, "no_answer": False}
    assert found["model_name"] == record.model.name
    assert found["date"] == 1767323045.0


def test_health_stands_under_a_key_of_its_own(tmp_path: Path) -> None:
    record = full_record()
    found = written(tmp_path, folder(tmp_path / "a"))
    filed = found["harness"]["tasks"][record.task.name]
    assert filed["health"]["vision"]["fhs"] == record.health.vision.fhs
    assert filed["diagnosis"]["verdict"] == record.diagnosis.verdict
    assert "probes" not in filed


def test_several_tasks_of_one_model_are_one_file(tmp_path: Path) -> None:
    record = full_record()
    one = folder(tmp_path / "a", named(record, "one"))
    other = folder(tmp_path / "b", named(record, "two"), lines(texts=False))
    found = written(tmp_path, one, other)
    assert list(found["results"]) == ["one", "one_generate", "two"]
    assert float(found["total_evaluation_time_seconds"]) == 20.0
    with pytest.raises(RecordError, match="are both about one"):
        write_results([one, one], tmp_path / "x.json")
    second = record.model_copy(update={"model": record.model.model_copy(update={"revision": "other"})})
    with pytest.raises(RecordError, match="results of two models"):
        write_results([one, folder(tmp_path / "c", named(second, "three"))], tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()


def test_nothing_answered_is_nothing_to_export(tmp_path: Path) -> None:
    unanswered = [sample("test", number, 0, None, group="g") for number in range(3)]
    with pytest.raises(RecordError, match="no test image was answered"):
        write_results([folder(tmp_path / "a", samples=unanswered)], tmp_path / "x.json")
    with pytest.raises(RecordError, match=r"record\.json"):
        write_results([tmp_path / "nowhere"], tmp_path / "x.json")
