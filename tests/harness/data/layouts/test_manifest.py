"""A manifest is read line by line, and a wrong line is refused by its number."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from harness.data.dataset import DataError, Dataset
from harness.data.sources import load_dataset


def load(build: ModuleType, folder: Path, **other: Any) -> Dataset:
    return load_dataset(build.folder_task("manifest", **other), data_dir=folder)


def test_files_labels_splits_and_patients(build: ModuleType, tmp_path: Path) -> None:
    rows = build.small_manifest(tmp_path / "set")
    build.write_manifest(
        tmp_path / "set", [row | {"age": "50"} for row in rows], "age,file,patient_id,label,split"
    )
    data = load(build, tmp_path)
    assert {(s.id, build.CLASSES[s.label], s.split) for s in data.samples} == {
        (row["file"], row["label"], row["split"]) for row in rows
    }
    assert data.report.grouped_by == "patient_id"
    assert len({s.group for s in data.samples}) == 6
    assert data.read(data.samples[0]).mode == "RGB"
    assert not data.official


def test_a_byte_order_mark_and_missing_patients_are_fine(build: ModuleType, tmp_path: Path) -> None:
    path = build.write_manifest(tmp_path / "set", build.small_manifest(tmp_path / "set"), "file,label,split")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(build, tmp_path).report.grouped_by == "near-duplicates"


def test_a_group_column_of_the_task_takes_the_place_of_the_patient(build: ModuleType, tmp_path: Path) -> None:
    rows = [row | {"study": row["split"]} for row in build.small_manifest(tmp_path / "set")]
    build.write_manifest(tmp_path / "set", rows, "file,label,split,patient_id,study")
    assert len({s.group for s in load(build, tmp_path, group_column="study").samples}) == 3
    build.write_manifest(tmp_path / "set", rows)
    with pytest.raises(DataError, match=r"manifest\.csv:1: no column `study`"):
        load(build, tmp_path, group_column="study")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "cyst"}, "label: `cyst` is none of the classes benign, malignant"),
        ({"split": "dev"}, "split: `dev` must be train, val, test"),
        ({"split": ""}, "no split, though other lines have one"),
        ({"file": "benign/gone.png"}, r"file: `benign/gone\.png` is not in"),
        ({"file": "../secret.png"}, r"file: `\.\./secret\.png` must be a path below"),
        ({"file": "benign/../../secret.png"}, "must be a path below"),
        ({"file": "/etc/passwd"}, "must be a path below"),
        ({"file": "C:/a.png"}, "must be a path below"),
        ({"file": ""}, "must be a path below"),
        ({"file": "benign/00.png"}, r"`benign/00\.png` stands in line 2 already"),
        ({"file": "./benign/00.png"}, r"`benign/00\.png` stands in line 2 already"),
    ],
)
def test_a_wrong_line_is_named(
    build: ModuleType, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    rows = build.small_manifest(tmp_path / "set")
    build.save(tmp_path / "secret.png", build.noise(0))
    rows[3] |= change
    build.write_manifest(tmp_path / "set", rows)
    with pytest.raises(DataError, match=rf"manifest\.csv:5: .*{message}") as caught:
        load(build, tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_columns_ragged_lines_and_nothing(build: ModuleType, tmp_path: Path) -> None:
    rows = build.small_manifest(tmp_path / "set")
    path = build.write_manifest(tmp_path / "set", rows, "file,patient_id")
    with pytest.raises(
        DataError, match=r"manifest\.csv:1: no column `label`, `split`; the file has file, patient_id"
    ):
        load(build, tmp_path)
    path.write_text("file,label,split\nbenign/00.png,benign\n")
    with pytest.raises(DataError, match=r"manifest\.csv:2: another number of values"):
        load(build, tmp_path)
    path.write_text("file,label,split\n")
    with pytest.raises(DataError, match="lists no image"):
        load(build, tmp_path)
    path.write_bytes(b"file,label,split\n\xff\xfe,benign,train\n")
    with pytest.raises(DataError, match="no readable CSV in UTF-8"):
        load(build, tmp_path)


def test_without_any_split_the_project_splits_by_patient(build: ModuleType, tmp_path: Path) -> None:
    rows = []
    for i in range(60):
        name = f"{i:02d}.png"
        build.save(tmp_path / "set" / name, build.noise(i))
        rows.append(
            {"file": name, "label": build.CLASSES[i // 2 % 2], "split": "", "patient_id": f"p{i // 2}"}
        )
    build.write_manifest(tmp_path / "set", rows)
    data = load(build, tmp_path)
    sizes = {name: len(data.split(name)) for name in ("train", "val", "test")}
    assert sum(sizes.values()) == 60
    assert (data.report.test_cut, data.report.val_cut_from_train) == (sizes["test"], sizes["val"])
    assert sizes["test"] == pytest.approx(12, abs=2)
    groups = [{s.group for s in data.split(name)} for name in ("train", "val", "test")]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 30


def test_a_damaged_image_is_named(build: ModuleType, tmp_path: Path) -> None:
    rows = build.small_manifest(tmp_path / "set")
    build.write_manifest(tmp_path / "set", rows)
    path = tmp_path / "set" / rows[7]["file"]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"malignant/07\.png: damaged or cut off"):
        load(build, tmp_path)


def test_pixels_are_read_at_full_depth(build: ModuleType, tmp_path: Path) -> None:
    rows = build.small_manifest(tmp_path / "set")
    deep = np.random.default_rng(0).integers(0, 65536, (9, 9), dtype=np.uint16)
    build.save(tmp_path / "set" / rows[0]["file"], deep)
    build.write_manifest(tmp_path / "set", rows)
    first = load(build, tmp_path)
    build.save(tmp_path / "set" / rows[0]["file"], deep ^ 1)  # the same picture in 8 bits
    assert load(build, tmp_path).fingerprint != first.fingerprint
