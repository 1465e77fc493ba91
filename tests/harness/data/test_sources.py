"""Where data is looked for, in which order, and what a user is told where there is none."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from harness.data import phantom
from harness.data.dataset import DataError
from harness.data.locate import data_folder
from harness.data.sources import load_dataset
from tasks.files import cache_folder
from tasks.spec import TaskSpec


def test_the_search_order(build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [
        Path.home() / ".medmnist" / "set.npz",
        data_folder() / "set.npz",
        tmp_path / "environment" / "medmnist" / "set.npz",
        tmp_path / "environment" / "set.npz",
        tmp_path / "option" / "set.npz",
    ]
    (tmp_path / "environment").mkdir()
    (tmp_path / "option").mkdir()
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path / "environment"))
    for place in places:  # each next one comes before those written so far
        build.write_npz(place)
        assert load_dataset(build.npz_task(), data_dir=tmp_path / "option").location == str(place)


@pytest.mark.parametrize("where", [".", "set", "..", "wrapped"])
def test_a_folder_is_found_below_and_as_the_data_directory(
    build: ModuleType, tmp_path: Path, where: str
) -> None:
    folder = tmp_path / "data" / "set"
    build.write_manifest(folder, build.small_manifest(folder))
    data_dir = {".": tmp_path / "data", "set": folder, "..": tmp_path / "data/set/..", "wrapped": folder}[
        where
    ]
    if where == "wrapped":
        data_dir = folder.rename(tmp_path / "data" / "of another name")
    assert len(load_dataset(build.folder_task("manifest"), data_dir=data_dir).samples) == 12


def test_another_data_sets_folder_is_not_taken_for_this_one(build: ModuleType, tmp_path: Path) -> None:
    build.write_manifest(tmp_path / "set", build.small_manifest(tmp_path / "set"))
    task = build.folder_task("manifest", "image_folder", classes=("COVID", "NonCOVID"), directory="other")
    with pytest.raises(DataError, match="no folder `other`"):
        load_dataset(task, data_dir=tmp_path / "set")


def test_no_folder_tells_where_to_get_it_and_where_to_put_it(build: ModuleType, tmp_path: Path) -> None:
    task = build.folder_task("manifest", url="https://example.org/set")
    with pytest.raises(DataError) as caught:
        load_dataset(task, data_dir=tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        str(tmp_path),
        str(data_folder()),
        "https://example.org/set",
        str(tmp_path / "set"),
        "--data-dir",
    ):
        assert part in message


def test_a_data_directory_that_does_not_exist(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="gone: the folder named by --data-dir does not exist"):
        load_dataset(build.npz_task(), data_dir=tmp_path / "gone")
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path / "gone"))
    with pytest.raises(DataError, match="gone: the folder named by HARNESS_DATA_DIR does not exist"):
        load_dataset(build.npz_task())


@pytest.mark.parametrize("name", ["limit", "max_train"])
def test_limits_are_1_or_more(build: ModuleType, tmp_path: Path, name: str) -> None:
    build.write_npz(tmp_path / "set.npz")
    with pytest.raises(DataError, match=f"{name} is 0"):
        load_dataset(build.npz_task(), data_dir=tmp_path, **{name: 0})


def test_the_tasks_own_max_train_holds_where_none_is_given(build: ModuleType, tmp_path: Path) -> None:
    build.write_npz(tmp_path / "set.npz")
    assert len(load_dataset(build.npz_task(max_train=4), data_dir=tmp_path).split("train")) == 4
    assert len(load_dataset(build.npz_task(max_train=4), data_dir=tmp_path, max_train=6).split("train")) == 6


def test_a_file_is_official_by_its_md5_alone(build: ModuleType, tmp_path: Path) -> None:
    path = build.write_npz(tmp_path / "set.npz")
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    assert load_dataset(build.npz_task(md5=md5), data_dir=tmp_path).official
    assert not load_dataset(build.npz_task(), data_dir=tmp_path).official
    with np.load(path) as arrays:
        np.savez_compressed(path, **arrays)
    assert not load_dataset(build.npz_task(md5=md5), data_dir=tmp_path).official


def phantom_task(build: ModuleType, **source: object) -> TaskSpec:
    ranges = {"train": (0, 40), "val": (40, 10), "test": (50, 10)}
    splits = {name: {"first": first, "count": count} for name, (first, count) in ranges.items()}
    values = {
        "layout": "phantom",
        "generator_version": phantom.GENERATOR_VERSION,
        "size": 32,
        "splits": splits,
    }
    return build.make_task(values | source, phantom.CLASSES)


def test_phantom_images_are_those_of_the_generator(build: ModuleType) -> None:
    data = load_dataset(phantom_task(build), offline=True)
    drawn = phantom.generate(50, 10, size=32)
    assert [s.id for s in data.split("test")] == [f"test/{i:06d}" for i in range(10)]
    assert [s.label for s in data.split("test")] == drawn.labels.tolist()
    for sample, image in zip(data.split("test"), drawn.images, strict=True):
        np.testing.assert_array_equal(np.asarray(data.read(sample))[..., 1], image)
    assert len({s.group for s in data.samples}) == len(data.samples) == 60
    assert data.report.grouped_by == "image"


def test_phantom_is_official_where_its_fingerprint_is_the_tasks(build: ModuleType) -> None:
    data = load_dataset(phantom_task(build))
    assert not data.official
    assert load_dataset(phantom_task(build, fingerprint=data.fingerprint)).official
    assert not load_dataset(phantom_task(build, fingerprint="0" * 64)).official


def test_phantom_images_are_drawn_once_and_anew_where_the_kept_ones_are_damaged(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    task, calls = phantom_task(build), []
    generate = phantom.generate
    monkeypatch.setattr(phantom, "generate", lambda *a, **k: calls.append(a) or generate(*a, **k))
    first = load_dataset(task)
    assert len(calls) == 4  # 40 in two chunks, 10, 10
    assert load_dataset(task).samples == first.samples
    assert len(calls) == 4
    for kept in (cache_folder() / "phantom").glob("*-50-10.npz"):
        kept.write_bytes(kept.read_bytes()[:100])
    assert load_dataset(task).samples == first.samples
    assert len(calls) == 5
    for kept in (cache_folder() / "phantom").glob("*-50-10.npz"):
        np.savez(kept, images=np.zeros((3, 32, 32), np.uint8), labels=np.zeros(3, np.int64))
    assert load_dataset(task).samples == first.samples
    assert len(calls) == 6
    assert "damaged" in caplog.text
    assert "of another form" in caplog.text


def test_another_generator_is_refused(build: ModuleType) -> None:
    with pytest.raises(DataError, match="asks for generator version 99"):
        load_dataset(phantom_task(build, generator_version=99))
