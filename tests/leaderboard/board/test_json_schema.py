"""The published schemas are those of the code, and what it writes follows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from leaderboard.board.entry import dump_entry, read_entry
from leaderboard.board.json_schema import FOLDER, KINDS, schema_text
from leaderboard.record.record import dump_record
from leaderboard.verify.submit import submit
from tests.harness.full_records import full_record
from tests.leaderboard.made_submission import made_board, made_record, made_result, made_run


def validator(kind: str) -> Draft202012Validator:
    schema = json.loads((FOLDER / f"{kind}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_schema_is_the_one_of_the_code(kind: str) -> None:
    published = (FOLDER / f"{kind}.schema.json").read_text(encoding="utf-8")
    assert published == schema_text(kind), (
        f"write it anew: harness leaderboard schema {kind} > leaderboard/schemas/{kind}.schema.json"
    )


def test_records_follow_their_schema() -> None:
    for record in (made_record(made_run()), full_record()):
        validator("record").validate(json.loads(dump_record(record)))


def test_lines_follow_their_schemas() -> None:
    made = made_run()
    for kind, lines in (("sample", made.samples), ("probe", made.lines)):
        for line in lines:
            validator(kind).validate(json.loads(line.model_dump_json()))


def test_an_entry_follows_its_schema(tmp_path: Path) -> None:
    folder = submit(made_result(tmp_path / "result"), made_board(tmp_path / "board"))
    validator("entry").validate(json.loads(dump_entry(read_entry(folder))))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda r: r.update(status="finished"), "status"),
        (lambda r: r["answers"]["accuracy"].update(value="0.5"), "value"),
        (lambda r: r["answers"]["accuracy"].update(n=0), "n"),
        (lambda r: r.update(best=True), "best"),
        (lambda r: r["task"].pop("version"), "version"),
    ],
)
def test_what_breaks_the_schema_is_found(change: Any, place: str) -> None:
    content = json.loads(dump_record(made_record(made_run())))
    change(content)
    assert any(place in str(error) for error in validator("record").iter_errors(content))
