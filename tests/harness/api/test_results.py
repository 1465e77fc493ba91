"""Results as Python sees them say what their files say."""

from __future__ import annotations

import builtins
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.run.results import NotRun
from leaderboard.record.record import Record
from tests.harness.conftest import read_json
from tests.harness.run.test_record import record_of

BOARD = Path(__file__).resolve().parents[3] / "leaderboard"
WATCHED = BOARD / "entries" / "zoo--llava-healthy" / "busi"
REFERENCE = BOARD / "entries" / "reference--vit" / "busi"


def numbers(interval: dict[str, float]) -> tuple[float, float, float]:
    return interval["value"], interval["low"], interval["high"]


def test_a_result_says_what_its_record_says() -> None:
    stored = read_json(WATCHED / "record.json")
    (result,) = harness.load(WATCHED)
    assert result.folder == WATCHED
    assert (result.model, result.task, result.status) == ("zoo/llava-healthy", "busi", "complete")
    assert result.verdict == stored["diagnosis"]["verdict"]
    assert result.accuracy is not None
    assert result.accuracy.model_dump() == stored["answers"]["accuracy"]
    assert [layer.model_dump(mode="json") for layer in result.layers] == stored["probes"]
    assert result.record.model_dump(mode="json") == stored


def test_a_single_result_answers_for_the_results_that_hold_it() -> None:
    results = harness.load(str(WATCHED))
    assert len(results) == 1
    for name in ("verdict", "accuracy", "layers", "record"):
        assert getattr(results, name) == getattr(results[0], name)


def test_a_folder_of_results_gives_all_of_them_sorted() -> None:
    results = harness.load(BOARD / "entries")
    places = sorted(path.parent for path in (BOARD / "entries").glob("*/*/record.json"))
    assert [result.folder for result in results] == places
    assert results[:2] == results.results[:2]
    with pytest.raises(
        ValueError, match=rf"there are {len(places)} results; take one of them, as in results\[0\]"
    ):
        _ = results.accuracy


def test_results_cannot_be_changed() -> None:
    results = harness.load(WATCHED)
    for thing, name in ((results, "results"), (results[0], "record"), (results, "verdict")):
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
            setattr(thing, name, None)
    with pytest.raises(ValueError, match="frozen"):
        results.record.status = "partial"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no result; there is no record.json in it"),
        ("{", "record.json: the file: "),
        ('{"status": "done"}', "record.json: status: "),
    ],
)
def test_what_is_no_result_is_refused(content: str | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "record.json").write_text(content, encoding="utf-8")
    with pytest.raises(harness.RecordError, match=said):
        harness.load(tmp_path)
    with pytest.raises(harness.RecordError, match="no such folder"):
        harness.load(tmp_path / "missing")


def test_a_frame_has_a_row_a_layer_with_the_numbers_of_the_record() -> None:
    pytest.importorskip("pandas")
    stored = read_json(WATCHED / "record.json")["probes"]
    frame = harness.load(WATCHED)[0].to_pandas()
    assert frame[["site", "pool", "readout"]].values.tolist() == [
        [probe["site"], probe["pool"], probe["readout"]] for probe in stored
    ]
    for name in ("accuracy", "balanced_accuracy", "auroc"):
        columns = [name, f"{name}_low", f"{name}_high"]
        assert [tuple(row) for row in frame[columns].values] == [numbers(probe[name]) for probe in stored]
    assert set(frame.model) == {"zoo/llava-healthy"}
    assert set(frame.n) == {156}


def test_a_frame_of_results_has_a_row_each() -> None:
    pandas = pytest.importorskip("pandas")
    results = harness.load(BOARD / "entries")
    frame = results.to_pandas().set_index("folder")
    assert len(frame) == len(results)
    stored, row = read_json(WATCHED / "record.json"), frame.loc[str(WATCHED)]
    assert (row.accuracy, row.accuracy_low, row.accuracy_high) == numbers(stored["answers"]["accuracy"])
    assert row.fhs_connector == stored["health"]["connector"]["fhs"]
    assert pandas.isna(frame.loc[str(REFERENCE)].fhs_connector)


def test_without_pandas_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ModuleNotFoundError, match=r"^pandas is not installed: pip install 'mllm-harness\[pandas\]'$"
    ):
        harness.load(WATCHED).to_pandas()


def test_a_notebook_shows_what_the_terminal_shows_and_escapes_it() -> None:
    named = Record.model_validate(record_of(name="<img src=x>"))
    results = harness.Results(
        (harness.TaskResult(Path("x"), named),), failures=(NotRun("a<b", "busi", "no & no"),)
    )
    html = results._repr_html_()
    assert "&lt;img src=x&gt;" in html
    assert "<img" not in html
    assert "a&lt;b on busi: failed: no &amp; no" in html
    text = repr(results)
    assert "<img src=x>" in text
    assert "a<b on busi: failed: no & no" in text
    assert html.count("<tr>") == 2


def test_results_without_a_result_say_why() -> None:
    empty = harness.Results(failures=(NotRun("m", "busi", "no data"),))
    assert repr(empty) == "m on busi: failed: no data"
    with pytest.raises(IndexError, match=r"^there is no result; m on busi: failed: no data$"):
        _ = empty[0]
    with pytest.raises(ValueError, match=r"^there is no result; m on busi: failed: no data$"):
        _ = empty.verdict
    assert list(empty) == []
    assert repr(harness.Results()) == "no results"


def test_a_report_is_returned_or_written(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE, tmp_path / "result")
    results = harness.load(tmp_path / "result")
    page = results.report()
    assert "reference/vit" in page
    assert page.startswith("<!doctype html>")
    assert sorted(path.name for path in (tmp_path / "result").iterdir()) == sorted(
        path.name for path in REFERENCE.iterdir()
    )
    assert results[0].report(tmp_path / "new" / "page.html") == page
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == page
    frame = page._repr_html_()
    assert frame.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert frame.count("<") == 2


def test_a_comparison_says_what_the_command_writes(tmp_path: Path) -> None:
    from tests.harness.conftest import harness as command

    other = BOARD / "entries" / "reference--resnet" / "busi"
    done = command("compare", str(REFERENCE), str(other), "--json", "out.json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    told = read_json(tmp_path / "out.json")
    compared = harness.compare(harness.load(REFERENCE), harness.load(other)[0])
    assert compared.verdict == told["verdict"]
    assert compared.gate_code == told["gate"]["exit_code"]
    assert (
        json.loads(json.dumps(dataclasses.asdict(compared.tasks[0].accuracy))) == told["tasks"][0]["accuracy"]
    )
    assert compared.verdict in repr(compared)
    assert "<td>reference/resnet</td>" in compared._repr_html_()
    frame = compared.to_pandas()
    assert frame.value.tolist() == [
        change["value"] for change in (told["tasks"][0]["accuracy"], *told["tasks"][0]["secondary"])
    ]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(harness.RecordError, match="no task in common"):
        harness.compare(REFERENCE, REFERENCE.parent / "phantom")
    with pytest.raises(ValueError, match="there are 4 results"):
        harness.compare(harness.load(WATCHED.parent), WATCHED)


def test_a_board_is_verified_entry_by_entry(tmp_path: Path) -> None:
    board = tmp_path / "board"
    shutil.copytree(BOARD / "images", board / "images")
    shutil.copy(BOARD / "board.yaml", board)
    for entry in (REFERENCE, REFERENCE.parent / "breastmnist"):
        shutil.copytree(entry, board / entry.relative_to(BOARD))
    assert [one.problem for one in harness.verify(board)] == [None, None]
    record = board / "entries" / "reference--vit" / "busi" / "record.json"
    record.write_text(record.read_text(encoding="utf-8") + " ", encoding="utf-8")
    (wrong,) = harness.verify(board, "entries/reference--vit/busi")
    assert wrong.folder == "entries/reference--vit/busi"
    assert "not the file that was checked" in (wrong.problem or "")
    (right,) = harness.verify(board, [board / "entries" / "reference--vit" / "breastmnist"])
    assert right.problem is None
    with pytest.raises(harness.RecordError, match="no such entry"):
        harness.verify(board, "entries/reference--vit/phantom")
