"""The board in `leaderboard/`: its entries verify, and what is built of them is what stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaderboard.board.folder import BoardFolder, open_board
from leaderboard.page.build import FILE, PAGE, board_json, make_board
from leaderboard.page.page import render_board
from leaderboard.verify.verify import verify

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def own() -> BoardFolder:
    return open_board(ROOT / "leaderboard")


def test_page_and_json_are_those_of_the_entries(own: BoardFolder) -> None:
    made = make_board(own)
    assert board_json(made) == (own.path / FILE).read_text(encoding="utf-8")
    assert render_board(made) == (own.path / PAGE).read_text(encoding="utf-8")


def test_every_kind_of_entry_verifies(own: BoardFolder) -> None:
    """All of them take a minute or two (`harness leaderboard verify leaderboard`); here each model on BUSI."""
    chosen = [folder for folder in own.entry_folders() if folder.name == "busi"]
    assert len(chosen) >= 4
    assert {one.folder: one.problem for one in verify(own, chosen) if one.problem} == {}


@pytest.mark.slow
def test_every_entry_verifies(own: BoardFolder) -> None:
    assert {one.folder: one.problem for one in verify(own) if one.problem} == {}


def test_unofficial_data_are_marked(own: BoardFolder) -> None:
    official = {entry.record.task.name: entry.record.task.official_data for entry in make_board(own).entries}
    assert official == {"phantom": True, "busi": False, "breastmnist": False, "chest_xray": False}
