"""The comparison of two checkouts' results finds what differs, and overlooks what may."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.same_results import Case, compared_files, differences

CASE = Case("small", ("eval",))


def filed(folder: Path, *, accuracy: float = 0.5, seconds: float = 1.0, sample: str = "{}") -> Path:
    """File one result and one study's table below a results folder, and return that folder."""
    result = folder / CASE.name / "model" / "task"
    result.mkdir(parents=True)
    record = {
        "answers": {"accuracy": accuracy},
        "cost": {"seconds": seconds},
        "provenance": {"git": str(folder)},
    }
    (result / "record.json").write_text(json.dumps(record))
    (result / "samples.jsonl").write_text(f"{{}}\n{sample}\n")
    (result / "log.txt").write_text(str(folder))
    (folder / CASE.name / "tables").mkdir()
    (folder / CASE.name / "tables" / "cells.csv").write_text("a,b\n")
    return folder


def test_cost_provenance_and_logs_may_differ(tmp_path: Path) -> None:
    before = compared_files(filed(tmp_path / "before"), CASE)
    after = compared_files(filed(tmp_path / "after", seconds=2.0), CASE)
    assert set(before) == {"model/task/record.json", "model/task/samples.jsonl", "tables/cells.csv"}
    assert differences(before, after) == []


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"accuracy": 0.6}, "model/task/record.json: differs from line 3 on"),
        ({"sample": '{"id": 1}'}, "model/task/samples.jsonl: differs from line 2 on"),
    ],
)
def test_what_is_filed_may_not_differ(tmp_path: Path, change: dict[str, float | str], wanted: str) -> None:
    before = compared_files(filed(tmp_path / "before"), CASE)
    after = compared_files(filed(tmp_path / "after", **change), CASE)  # type: ignore[arg-type]
    assert differences(before, after) == [wanted]


def test_a_file_that_only_one_side_has_is_named(tmp_path: Path) -> None:
    before = compared_files(filed(tmp_path / "before"), CASE)
    after = dict(before)
    del after["tables/cells.csv"]
    assert differences(before, after) == ["tables/cells.csv: only before"]
    assert differences(after, before) == ["tables/cells.csv: only after"]
