"""The board as it is built: the same bytes from the same entries, in order, with ranks, and nothing edited."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from leaderboard.board.entry import Rerun
from leaderboard.board.folder import BoardFolder, open_board
from leaderboard.board.ranking import TaskAnswers, task_ranks
from leaderboard.page.build import board_json, build, make_board
from leaderboard.record.record import RecordError, read_record
from leaderboard.verify.submit import submit
from leaderboard.verify.verify import check_entry, mark_rerun
from tests.leaderboard.lines import CLASSES
from tests.leaderboard.made_submission import made_board, made_record, made_run, write_result

ACCURACIES = {"clinic/best": 0.95, "clinic/middle": 0.7, "clinic/worst": 0.35, "reference/resnet": 0.9}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    board = made_board(folder / "board")
    for seed, (name, accuracy) in enumerate(ACCURACIES.items()):
        run = made_run(seed, answers=accuracy)
        model = made_record(run, name=name).model.model_dump()
        if name.startswith("reference"):
            model["role"] = "reference"
        submit(write_result(folder / str(seed), made_record(run, name=name, model=model), run), board)
    return board.path


@pytest.fixture
def board(made: Path, tmp_path: Path) -> BoardFolder:
    return open_board(Path(shutil.copytree(made, tmp_path / "board")))


def entries(board: BoardFolder) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(board_json(make_board(board)))["entries"]
    return found


def test_entries_are_sorted_by_accuracy_and_hold_what_their_records_say(board: BoardFolder) -> None:
    found = entries(board)
    accuracies = [entry["accuracy"]["value"] for entry in found]
    assert accuracies == sorted(accuracies, reverse=True)
    assert {entry["model"] for entry in found} == set(ACCURACIES)
    for entry in found:
        record = read_record(board.path / entry["folder"] / "record.json")
        assert record.answers is not None
        assert record.health is not None
        assert record.diagnosis is not None
        assert entry["accuracy"] == record.answers.accuracy.model_dump()
        assert entry["profile"] == list(record.health.profile)
        assert entry["verdict"] == record.diagnosis.verdict
        balanced = record.answers.balanced_accuracy.value
        wanted = (balanced - 1 / CLASSES) / (1 - 1 / CLASSES)
        assert entry["chance_corrected"]["value"] == pytest.approx(wanted)
        assert entry["state"] == "recomputed"
        assert "permutation" in entry["declared"]


def test_references_take_part_and_are_not_ranked(board: BoardFolder) -> None:
    found = {entry["model"]: entry["rank"] for entry in entries(board)}
    assert found.pop("reference/resnet") is None
    runs = [made_run(seed, answers=ACCURACIES[name]).test() for seed, name in enumerate(found_order())]
    ranks = task_ranks(TaskAnswers.of("lumps", CLASSES, runs))
    assert found == dict(zip(found_order(), ranks, strict=True))
    assert found["clinic/best"] == 1
    assert found["clinic/worst"] == 3


def found_order() -> list[str]:
    return [name for name in ACCURACIES if not name.startswith("reference")]


def test_the_same_entries_give_the_same_bytes_wherever_they_lie(board: BoardFolder, tmp_path: Path) -> None:
    first = [path.read_bytes() for path in build(board)]
    other = open_board(Path(shutil.copytree(board.path, tmp_path / "elsewhere")))
    for folder in sorted((other.path / "entries").iterdir(), reverse=True):  # made anew, in another order
        folder.rename(folder.with_name(f"x{folder.name}"))
        folder.with_name(f"x{folder.name}").rename(folder)
    assert [path.read_bytes() for path in build(other)] == first
    assert [path.name for path in build(board)] == ["leaderboard.json", "index.html"]
    assert [path.read_bytes() for path in build(board)] == first
    assert str(tmp_path).encode() not in b"".join(first)


def test_an_edited_entry_is_not_built(board: BoardFolder) -> None:
    path = board.path / "entries" / "clinic--worst" / "lumps" / "record.json"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(RecordError, match=r"clinic--worst/lumps: record.json: not the file that was checked"):
        build(board)
    assert not (board.path / "leaderboard.json").exists()


def test_what_the_keeper_ran_again_is_shown(board: BoardFolder) -> None:
    folder = board.path / "entries" / "clinic--best" / "lumps"
    rerun = Rerun(
        harness_version="0",
        engine="transformers",
        device="cpu",
        agreement=0.98,
        accuracy=0.95,
        p=1.0,
        largest_probe_difference=None,
    )
    mark_rerun(check_entry(folder, board), rerun)
    assert {entry["model"]: entry["state"] for entry in entries(board)}["clinic/best"] == "rerun"


def test_an_empty_board_is_built(tmp_path: Path) -> None:
    board = made_board(tmp_path / "board")
    content = json.loads(board_json(make_board(board)))
    assert content["entries"] == []
    assert content["tasks"] == []
    assert content["joined"] == {"tasks": [], "models": []}
    file, page = build(board)
    assert file.is_file()
    assert page.is_file()


def test_hostile_words_reach_the_files_as_text(tmp_path: Path) -> None:
    board, run = made_board(tmp_path / "board"), made_run(7)
    model = made_record(run).model.model_copy(
        update={"remarks": ("<script>alert(1)</script>",), "architecture": '"><img src=x onerror=alert(1)>'}
    )
    record = made_record(run, model=model.model_copy(update={"family": "</script><b>"}).model_dump())
    submit(write_result(tmp_path / "r", record, run), board)
    file, page = build(board)
    assert json.loads(file.read_text(encoding="utf-8"))["entries"][0]["family"] == "</script><b>"
    text = page.read_text(encoding="utf-8")
    for word in ("<script>alert(1)", "<img src=x", "</script><b>"):
        assert word not in text


def test_models_with_an_entry_on_every_task_are_joined(tmp_path: Path) -> None:
    board = made_board(tmp_path / "board", tasks=("bumps", "lumps"))
    levels: dict[str, list[float]] = {}
    for task in ("bumps", "lumps"):
        for seed, (name, accuracy) in enumerate(ACCURACIES.items()):
            if (task, name) == ("lumps", "clinic/middle"):
                continue
            run = made_run(seed + (task == "lumps") * 10, answers=accuracy)
            record = made_record(run, name=name, task_name=task)
            role = "reference" if name.startswith("reference") else "model"
            record = record.model_copy(update={"model": record.model.model_copy(update={"role": role})})
            submit(write_result(tmp_path / task / str(seed), record, run), board)
            assert record.answers is not None
            balanced = record.answers.balanced_accuracy.value
            levels.setdefault(name, []).append((balanced - 1 / CLASSES) / (1 - 1 / CLASSES))
    joined = json.loads(board_json(make_board(board)))["joined"]
    assert joined["tasks"] == ["bumps", "lumps"]
    found = {row["model"]: row for row in joined["models"]}
    assert set(found) == {"clinic/best", "clinic/worst", "reference/resnet"}
    for name, row in found.items():
        assert row["chance_corrected"]["value"] == pytest.approx(sum(levels[name]) / 2)
    assert {name: row["rank"] for name, row in found.items()} == {
        "clinic/best": 1,
        "clinic/worst": 2,
        "reference/resnet": None,
    }
