"""What counts as the same when an entry's model is run again: all that was asked, not the headline alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.exchange.rerun import compare_runs
from leaderboard.record.record import RecordError
from leaderboard.verify.submission import read_submission
from tests.leaderboard.made_submission import made_result
from tests.leaderboard.verify.rewriting import Content, each, in_record


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return made_result(tmp_path / "second")


def compared(second: Path, tmp_path: Path) -> str:
    """Compare the run with one of which something was changed; return what is said against it."""
    first = read_submission(made_result(tmp_path / "first"))
    try:
        compare_runs(first, read_submission(second))
    except RecordError as error:
        return str(error)
    return ""


def test_the_same_run_agrees(second: Path, tmp_path: Path) -> None:
    first = read_submission(made_result(tmp_path / "first"))
    found = compare_runs(first, read_submission(second))
    assert (found.agreement, found.p, found.largest_probe_difference) == (1.0, 1.0, 0.0)


def _other_class(line: Content) -> None:
    line["read"] = None if line["read"] is None else (line["read"] + 1) % 4


def _other_letters(line: Content) -> None:
    for one in line["orders"]:
        one["predicted"] = (one["predicted"] + 1) % 4


def _letters_missed(line: Content) -> None:
    line["predictions"] = [(p + 1) % 4 for p in line["predictions"]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (in_record("model.role", "reference"), "record.json: model.role: model in the entry, reference here"),
        (in_record("model.parameters", 7), "record.json: model.parameters: "),
        (in_record("model.revision", "z"), "record.json: model.revision: "),
        (in_record("condition", "lora"), "record.json: condition: "),
        (each("samples", _other_class, split="test"), "samples.jsonl: read: run again, "),
        (each("samples", _other_letters, split="test"), "samples.jsonl: orders: run again, "),
        (
            each("probes", _letters_missed, readout="answer_target"),
            "probes.jsonl: answer_target at layer 0: run again, ",
        ),
        (each("probes", _letters_missed, site="reference"), "probes.jsonl: floor reference: run again, "),
    ],
    ids=["role", "parameters", "revision", "condition", "texts", "orders", "letters", "reference"],
)
def test_what_differs_is_named(
    second: Path, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    change(second)
    assert said in compared(second, tmp_path)


def test_a_few_other_texts_are_rounding(second: Path, tmp_path: Path) -> None:
    each("samples", _other_class, id="test/00004")(second)
    assert compared(second, tmp_path) == ""
