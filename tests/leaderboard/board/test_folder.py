"""A board's folder: begun once, tasks added by rule, and what it knows of a task."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from leaderboard.board.folder import add_task, init_board, open_board
from leaderboard.board.image_list import ImageList, ListedSample
from leaderboard.record.record import RecordError
from tasks import catalog
from tasks.spec import task_hash
from tests.leaderboard.made_submission import image_list, made_board, made_run, small_task

OFFICIAL = {"title": "Ours", "official": True}
ONE = (ListedSample("test", "a", 0, "g", "00"),)


def test_a_board_is_opened_as_it_was_begun(tmp_path: Path) -> None:
    settings = {"title": "Über: <b>uns</b> # 1", "official": False}
    begun = init_board(tmp_path / "b", **settings)
    assert open_board(tmp_path / "b") == begun
    assert begun.entry_folders() == ()
    with pytest.raises(RecordError, match="there is a board already"):
        init_board(tmp_path / "b", **settings)


def test_a_board_may_begin_in_a_folder_that_holds_other_things(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    init_board(tmp_path, **OFFICIAL)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: x\nofficial: yes please", "board.yaml:2: official: must be true or false"),
        ("title: x\nofficial: 1", "board.yaml:2: official: must be true or false"),
        ("title: ''\nofficial: true", "board.yaml:1: title: must not be empty"),
        ("title: x\nofficial: true\nmore: 1", "board.yaml:3: more: unknown key; known are title, official"),
        (
            "title: x\nofficial: true\nofficial: false",
            "board.yaml:3: official: stands twice; first in line 2",
        ),
        ("title: x\nofficial: true\ntasks: busi", "board.yaml:3: tasks: must be a list"),
        ("title: [\n", "board.yaml:2: not valid YAML"),
        ("title: 2020-13-45\nofficial: true", "board.yaml:1: title: `2020-13-45` cannot be read"),
        ("title: !!int x", "board.yaml:1: title: `x` cannot be read"),
        ('title: "\\e[2J"\nofficial: "\\e[2J"', "board.yaml:2: official: must be true or false"),
        ("[" * 20_000, "board.yaml:1: nested too deeply"),
        ("!!python/object/apply:os.system ['true']", "board.yaml:1: must be a mapping"),
        ("", "board.yaml:1: must be a mapping"),
        ("official: true", "board.yaml:1: title: is required"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "board.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecordError) as caught:
        open_board(tmp_path)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_where_there_is_no_board_the_way_to_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="harness leaderboard init"):
        open_board(tmp_path / "nowhere")


def test_a_title_is_bounded(tmp_path: Path) -> None:
    for title in ("x" * 201, "", "\udcff"):
        with pytest.raises(RecordError, match=r"board.yaml: title: "):
            init_board(tmp_path / "b", title=title, official=True)
    assert not (tmp_path / "b").exists()


def test_a_task_of_its_own_is_read_as_it_was_added(tmp_path: Path) -> None:
    board = made_board(tmp_path / "b")
    assert board.own_tasks() == ("lumps",)
    assert board.task("lumps") == small_task()
    assert task_hash(board.task("lumps")) == task_hash(small_task())
    assert board.images(board.task("lumps")) == image_list(made_run())


def test_a_shipped_task_needs_a_list_alone_and_one_with_a_list_nothing(tmp_path: Path) -> None:
    board = init_board(tmp_path / "b", **OFFICIAL)
    busi, phantom = catalog.load("busi"), catalog.load("phantom")
    assert add_task(board, busi, ImageList("busi", busi.version, True, ONE)) == (
        board.path / "images" / "busi.csv",
    )
    assert add_task(board, phantom, ImageList("phantom", phantom.version, True, ONE)) == ()
    assert board.images(phantom).split("test") != ONE  # the shipped list counts, not what was handed over
    assert board.images(busi).images == ONE


def test_unofficial_data_enter_only_a_board_that_takes_them(tmp_path: Path) -> None:
    unofficial = replace(image_list(made_run()), official=False)
    with pytest.raises(RecordError, match="lumps: the data are not byte for byte the published ones"):
        add_task(init_board(tmp_path / "official", **OFFICIAL), small_task(), unofficial)
    board = init_board(tmp_path / "other", title="Ours", official=False)
    add_task(board, small_task(), unofficial)
    assert not board.images(small_task()).official


def test_a_shipped_name_stands_for_the_shipped_task(tmp_path: Path) -> None:
    board = init_board(tmp_path / "b", **OFFICIAL)
    mine = catalog.load("busi").model_copy(update={"seed": 5})
    with pytest.raises(RecordError, match="busi: a shipped task has this id and is another one"):
        add_task(board, mine, ImageList("busi", 1, True, ONE))
    (board.path / "tasks").mkdir()
    (board.path / "tasks" / "busi.yaml").write_text("id: busi", encoding="utf-8")
    assert board.task("busi") == catalog.load("busi")


def test_unknown_tasks_and_missing_lists_are_named(tmp_path: Path) -> None:
    board = made_board(tmp_path / "b")
    for name in ("nothing", "../lumps", "tasks/lumps", "lumps.yaml", "x" * 10_000, "\x1b[2J\n"):
        with pytest.raises(
            RecordError, match=r"record.json: task.name: .* is no task of this board"
        ) as caught:
            board.task(name)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500
    with pytest.raises(RecordError, match=r"has no list of the images of busi; .* add-task"):
        board.images(catalog.load("busi"))


def test_a_board_that_names_its_tasks_takes_no_others(tmp_path: Path) -> None:
    begun = init_board(tmp_path / "b", **OFFICIAL)
    assert begun.task("phantom") == catalog.load("phantom")
    settings = begun.path / "board.yaml"
    settings.write_text(settings.read_text(encoding="utf-8") + "tasks: [busi]\n", encoding="utf-8")
    board = open_board(begun.path)
    assert board.task("busi") == catalog.load("busi")
    with pytest.raises(
        RecordError, match=r"'phantom' is no task of this board, which takes busi; .* add-task"
    ):
        board.task("phantom")
    for name in ("phantom", "phantom-200"):
        task = catalog.load(name)
        assert add_task(board, task, ImageList(name, task.version, True, ONE)) == (settings,)
    assert open_board(begun.path).settings.tasks == ("busi", "phantom", "phantom-200")


def test_a_list_that_entries_are_about_is_not_changed(tmp_path: Path) -> None:
    board = made_board(tmp_path / "b")
    other = replace(image_list(made_run()), images=image_list(made_run()).images[1:])
    before = (board.path / "images" / "lumps.csv").read_bytes()
    (board.path / "entries" / "a" / "lumps").mkdir(parents=True)
    with pytest.raises(RecordError, match=r"lumps.csv: differs from lumps as it is here, .* 1 entries"):
        add_task(board, small_task(), other)
    with pytest.raises(RecordError, match=r"lumps.yaml: differs"):
        add_task(board, small_task().model_copy(update={"seed": 5}), image_list(made_run()))
    assert (board.path / "images" / "lumps.csv").read_bytes() == before
    assert add_task(board, small_task(), image_list(made_run())) == (
        board.path / "tasks" / "lumps.yaml",
        board.path / "images" / "lumps.csv",
    )
    (board.path / "entries" / "a" / "lumps").rmdir()
    add_task(board, small_task(), other)
    assert (board.path / "images" / "lumps.csv").read_bytes() != before


def test_a_folder_of_entries_that_is_not_there_is_no_empty_board(tmp_path: Path) -> None:
    board = made_board(tmp_path / "b")
    shutil.rmtree(board.path / "entries")
    with pytest.raises(RecordError, match=r"entries: cannot be read"):
        board.entry_folders()


def test_git_is_told_to_leave_lines_as_they_are(tmp_path: Path) -> None:
    board = init_board(tmp_path / "b", **OFFICIAL)
    assert "entries/** -text" in (board.path / ".gitattributes").read_text(encoding="utf-8")


def test_entries_are_folders_two_levels_down_sorted(tmp_path: Path) -> None:
    board = made_board(tmp_path / "b")
    entries = board.path / "entries"
    for name in ("b/lumps", "a/phantom", "a/lumps", "a/.lumps-x1"):
        (entries / name).mkdir(parents=True)
    (entries / "c").mkdir()
    (entries / "d").symlink_to(entries / "a")
    (entries / "a" / "file").touch()
    assert [p.relative_to(entries).as_posix() for p in board.entry_folders()] == [
        "a/lumps",
        "a/phantom",
        "b/lumps",
    ]
