"""Lists of images: read as they were written, one fingerprint whatever the order, and wrong lines named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.board.image_list import (
    ImageList,
    ListedSample,
    dataset_fingerprint,
    dump_image_list,
    image_list,
    read_image_list,
    shipped_image_list,
)
from leaderboard.record.record import RecordError
from tasks import catalog
from tests.leaderboard.made_submission import small_task

TASK = small_task()
IMAGES = (
    ListedSample("train", "a.png", 0, "p1", "00"),
    ListedSample("train", 'b, "b".png', 1, "p 2", "01"),
    ListedSample("val", "a.png", 2, "p3", "02"),
    ListedSample("test", "ü/ä.png", 3, "p4", "03"),
)
LIST = ImageList("lumps", 1, True, IMAGES)


@pytest.mark.parametrize("official", [True, False])
def test_a_list_is_read_as_it_was_written(tmp_path: Path, official: bool) -> None:
    path = tmp_path / "lumps.csv"
    path.write_text(dump_image_list(replace(LIST, official=official)), encoding="utf-8")
    assert read_image_list(path, TASK) == replace(LIST, official=official)


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), min_size=1, max_size=20)
)
def test_any_name_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path = tmp_path_factory.mktemp("list") / "lumps.csv"
    named = replace(LIST, images=(replace(IMAGES[3], id=name, group=name),))
    path.write_text(dump_image_list(named), encoding="utf-8", newline="")
    assert read_image_list(path, TASK) == named


def test_splits_come_in_their_order_and_images_in_that_of_the_run() -> None:
    mixed = (IMAGES[3], IMAGES[1], IMAGES[2], IMAGES[0])
    assert [i.id for i in image_list(TASK, True, mixed).images] == [IMAGES[n].id for n in (1, 0, 2, 3)]
    assert [i.split for i in LIST.split("test")] == ["test"]


def test_the_fingerprint_is_a_hash_of_sorted_lines() -> None:
    lines = ["test 3 03\n", "train 0 00\n", "train 1 01\n", "val 2 02\n"]
    assert LIST.fingerprint == hashlib.sha256("".join(lines).encode()).hexdigest()
    shuffled = list(IMAGES)
    Random(1).shuffle(shuffled)
    assert dataset_fingerprint(shuffled) == LIST.fingerprint
    assert dataset_fingerprint([replace(i, id="x", group="y") for i in IMAGES]) == LIST.fingerprint


@pytest.mark.parametrize("change", [{"label": 2}, {"pixel_hash": "04"}, {"split": "val"}])
def test_a_pixel_a_label_or_a_split_changes_the_fingerprint(change: dict[str, object]) -> None:
    assert dataset_fingerprint([replace(IMAGES[0], **change), *IMAGES[1:]]) != LIST.fingerprint


WRONG: dict[str, tuple[Callable[[str], str], str]] = {
    "another version": (
        lambda text: text.replace("version 1", "version 2"),
        "csv:1: '# images of task lumps version 2",
    ),
    "another task": (lambda text: text.replace("lumps", "bumps"), "csv:1: "),
    "neither kind": (lambda text: text.replace("official", "some"), "csv:1: "),
    "empty": (lambda text: "", "csv:1: "),
    "no columns": (lambda text: text.splitlines()[0] + "\n", "csv:2: the columns must be split, id"),
    "other columns": (
        lambda text: text.replace("pixel_hash", "hash"),
        "csv:2: the columns must be split, id",
    ),
    "a value less": (lambda text: text.replace(",p1,00", ",p1"), "csv:3: needs 5 values"),
    "no split": (
        lambda text: text.replace("val,a", "dev,a"),
        "csv:5: split: 'dev' must be train or val or test",
    ),
    "no class": (
        lambda text: text.replace("a.png,2", "a.png,4"),
        "csv:5: label: '4' is no index of the 4 classes",
    ),
    "negative": (lambda text: text.replace("a.png,2", "a.png,-1"), "csv:5: label: '-1' is no index"),
    "other digits": (lambda text: text.replace("a.png,2", "a.png,٢"), "csv:5: label: '٢' is no index"),
    "many digits": (lambda text: text.replace("a.png,2", "a.png," + "1" * 5000), "csv:5: label: "),
    "an image twice": (
        lambda text: text.replace("val,a", "train,a"),
        "csv:5: id: 'a.png' stands there twice in train",
    ),
    "no test image": (lambda text: text.replace("test,", "val,"), "csv: split: no test image"),
    "a long field": (lambda text: text.replace("p1", "p" * 200_000), "csv: is no CSV (field larger"),
    "an open quote": (lambda text: text.replace(",p1", ',"p1'), "csv: is no CSV ("),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_list_is_refused_and_the_place_named(tmp_path: Path, name: str) -> None:
    change, said = WRONG[name]
    path = tmp_path / "lumps.csv"
    path.write_text(change(dump_image_list(LIST)), encoding="utf-8")
    with pytest.raises(RecordError) as caught:
        read_image_list(path, TASK)
    assert said in str(caught.value)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lumps.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(RecordError, match="cannot be read"):
        read_image_list(tmp_path / "lumps.csv", TASK)
    with pytest.raises(RecordError, match="cannot be read"):
        read_image_list(tmp_path / "missing.csv", TASK)


@pytest.mark.parametrize("name", ["phantom", "phantom-200"])
def test_the_lists_of_generated_images_are_those_of_their_tasks(name: str) -> None:
    task = catalog.load(name)
    found = shipped_image_list(task)
    assert found is not None
    assert found.official
    assert found.fingerprint == task.source.fingerprint
    assert {split: len(found.split(split)) for split in task.split_sizes} == task.split_sizes


def test_other_tasks_ship_none() -> None:
    assert shipped_image_list(catalog.load("busi")) is None
    assert shipped_image_list(TASK) is None
