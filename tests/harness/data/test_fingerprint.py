"""The fingerprint tells one pixel, one label or one split, and nothing of names and places."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from harness.data.dataset import Dataset
from harness.data.sources import load_dataset


def load(build: ModuleType, folder: Path, rows: list[dict[str, str]]) -> Dataset:
    build.write_manifest(folder / "set", rows)
    return load_dataset(build.folder_task("manifest"), data_dir=folder)


@pytest.fixture
def rows(build: ModuleType, tmp_path: Path) -> list[dict[str, str]]:
    return build.small_manifest(tmp_path / "set")


def test_renamed_moved_and_losslessly_resaved_files_change_nothing(
    build: ModuleType, tmp_path: Path, rows: list[dict[str, str]]
) -> None:
    before = load(build, tmp_path, rows)
    new = tmp_path / "elsewhere"
    renamed = []
    for i, row in enumerate(reversed(rows)):
        name = f"{i:02d}.bmp"
        (new / "set").mkdir(parents=True, exist_ok=True)
        Image.open(tmp_path / "set" / row["file"]).save(new / "set" / name)
        renamed.append(row | {"file": name})
    after = load(build, new, renamed)
    assert after.fingerprint == before.fingerprint
    assert {(s.pixel_hash, s.split, s.group) for s in after.samples} == {
        (s.pixel_hash, s.split, s.group) for s in before.samples
    }


def test_one_pixel_label_or_split_changes_it(
    build: ModuleType, tmp_path: Path, rows: list[dict[str, str]]
) -> None:
    before = load(build, tmp_path, rows).fingerprint
    other_label = "malignant" if rows[0]["label"] == "benign" else "benign"
    seen = {before}
    seen.add(load(build, tmp_path, [rows[0] | {"label": other_label}, *rows[1:]]).fingerprint)
    moved = [row | {"split": "val"} if row["patient_id"] == "p0" else row for row in rows]
    seen.add(load(build, tmp_path, moved).fingerprint)
    seen.add(load(build, tmp_path, rows[1:]).fingerprint)
    path = tmp_path / "set" / rows[0]["file"]
    shutil.copy(path, tmp_path / "kept.png")
    image = Image.open(path)
    pixels = np.asarray(image).copy()
    pixels[3, 3] ^= 1
    build.save(path, pixels)
    seen.add(load(build, tmp_path, rows).fingerprint)
    shutil.copy(tmp_path / "kept.png", path)
    assert len(seen) == 5
    assert load(build, tmp_path, rows).fingerprint == before


def test_it_is_that_of_the_subset_but_not_of_a_limited_run(build: ModuleType, tmp_path: Path) -> None:
    build.write_npz(tmp_path / "set.npz", {"train": 20, "val": 4, "test": 10})
    whole = load_dataset(build.npz_task(), data_dir=tmp_path)
    limited = load_dataset(build.npz_task(), data_dir=tmp_path, limit=4, max_train=6)
    assert limited.fingerprint == whole.fingerprint
    assert (len(limited.split("train")), len(limited.split("test"))) == (6, 4)
    assert (limited.report.train_before_max, limited.report.test_before_limit) == (20, 10)
    subset = build.npz_task(subset={"seed": 0, "sizes": {"test": 4}})
    part = load_dataset(subset, data_dir=tmp_path)
    assert part.fingerprint != whole.fingerprint
    assert part.report.subset_of == {"train": 20, "val": 4, "test": 10}
