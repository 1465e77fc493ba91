"""Folders as users make them, and as BUSI, COVID-CT and the chest X-rays are published."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

from harness.data import sources
from harness.data.dataset import DataError, Dataset
from harness.data.layouts.folders import kermany_patient
from harness.data.sources import load_dataset
from tasks.file_list import PublishedFile
from tasks.spec import TaskSpec


def counts(data: Dataset) -> Counter[tuple[str, int]]:
    return Counter((s.split, s.label) for s in data.samples)


def save_all(build: ModuleType, folder: Path, names: Iterable[str]) -> None:
    for seed, name in enumerate(names):
        build.save(folder / name, build.noise(seed))


def divided(classes: tuple[str, ...], per_class: int = 4) -> list[str]:
    return [
        f"{split}/{c}/{i}.png"
        for split in ("train", "val", "test")
        for c in classes
        for i in range(per_class)
    ]


def test_split_and_class_folders(build: ModuleType, tmp_path: Path) -> None:
    names = divided(build.CLASSES)
    save_all(build, tmp_path / "set", names)
    (tmp_path / "set/train/.DS_Store").write_text("")
    (tmp_path / "set/train/benign/notes.txt").write_text("")
    data = load_dataset(build.folder_task("image_folder"), data_dir=tmp_path)
    assert sorted(s.id for s in data.samples) == sorted(names)
    assert set(counts(data).values()) == {4}


def test_class_folders_of_other_names(build: ModuleType, tmp_path: Path) -> None:
    save_all(build, tmp_path / "set", divided(("b", "deep/m")))
    task = build.folder_task("image_folder", class_folders={"benign": "b", "malignant": "deep/m"})
    assert set(counts(load_dataset(task, data_dir=tmp_path)).values()) == {4}


def test_class_folders_without_splits_are_split(build: ModuleType, tmp_path: Path) -> None:
    save_all(build, tmp_path / "set", [f"{c}/{i}.png" for c in build.CLASSES for i in range(20)])
    data = load_dataset(build.folder_task("image_folder"), data_dir=tmp_path)
    assert counts(data)["test", 0] == counts(data)["test", 1] == 4
    assert data.report.test_cut == 8


def test_a_folder_that_is_no_class_is_refused(build: ModuleType, tmp_path: Path) -> None:
    save_all(build, tmp_path / "set", divided((*build.CLASSES, "cyst")))
    with pytest.raises(
        DataError, match=r"cyst: holds images but is no class; the classes are benign, malignant"
    ):
        load_dataset(build.folder_task("image_folder"), data_dir=tmp_path)


def test_no_accepted_layout(build: ModuleType, tmp_path: Path) -> None:
    save_all(build, tmp_path / "set", ["a.png"])
    with pytest.raises(DataError, match="in none of the layouts manifest, image_folder"):
        load_dataset(build.folder_task("manifest", "image_folder"), data_dir=tmp_path)


def test_a_class_without_training_images_is_refused(build: ModuleType, tmp_path: Path) -> None:
    names = [name for name in divided(build.CLASSES) if not name.startswith("train/malignant")]
    save_all(build, tmp_path / "set", names)
    with pytest.raises(DataError, match="no training images of class malignant"):
        load_dataset(build.folder_task("image_folder"), data_dir=tmp_path)


@pytest.mark.parametrize(
    ("stem", "patient"),
    [
        ("person1946_bacteria_4874", "person1946"),
        ("person1_virus_6", "person1"),
        ("IM-0115-0001", "IM-0115"),
        ("IM-0117-0001-0002", "IM-0117"),
        ("NORMAL2-IM-1427-0001", "NORMAL2-IM-1427"),
        ("holiday", None),
        ("person1", None),
    ],
)
def test_patients_of_the_chest_x_rays(stem: str, patient: str | None) -> None:
    assert kermany_patient(stem) == patient


def test_chest_x_rays_are_grouped_by_the_patients_of_their_names(build: ModuleType, tmp_path: Path) -> None:
    root = tmp_path / "chest_xray"
    names = [f"train/NORMAL/IM-{i:04d}-0001.jpeg" for i in range(20)]
    names += [f"train/PNEUMONIA/person{i // 2}_{('virus', 'bacteria')[i % 2]}_{i}.jpeg" for i in range(40)]
    names += [
        "test/NORMAL/IM-0003-0002.jpeg",
        "test/PNEUMONIA/person1_virus_6.jpeg",
        "test/PNEUMONIA/person99_virus_6.jpeg",
    ]
    names += [f"val/{c}/person{i}_virus_1.jpeg" for c in ("NORMAL", "PNEUMONIA") for i in range(200, 208)]
    save_all(build, root, names)
    with_val, without = (
        build.folder_task(
            "manifest", "kermany", classes=("NORMAL", "PNEUMONIA"), directory="chest_xray", splits=splits
        )
        for splits in ("train val test", "train test")
    )
    data = load_dataset(without, data_dir=tmp_path)
    assert len(data.split("test")) == 3
    assert data.report.dropped_train == 3  # IM-0003 once, person1 twice
    assert data.report.val_cut_from_train == len(data.split("val")) == pytest.approx(0.15 * 57, abs=2)
    assert not any(s.id.startswith("val/") for s in data.samples)
    assert len(load_dataset(with_val, data_dir=tmp_path).split("val")) == 16


def test_a_name_without_a_patient_is_refused(build: ModuleType, tmp_path: Path) -> None:
    save_all(
        build,
        tmp_path / "set",
        ["train/benign/IM-0001-0001.jpeg", "train/malignant/x.jpeg", "test/benign/y.jpeg"],
    )
    with pytest.raises(DataError, match="`x` is not named as"):
        load_dataset(build.folder_task("kermany"), data_dir=tmp_path)


def publish(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch, root: Path, files: dict[str, tuple[str, str]]
) -> None:
    """Save the files, and let the task's file list hold them with their class and split."""
    save_all(build, root, files)
    entries = tuple(
        PublishedFile(name, label, split, "", hashlib.sha256((root / name).read_bytes()).hexdigest())  # type: ignore[arg-type]
        for name, (label, split) in files.items()
    )
    monkeypatch.setattr(sources, "read_file_list", lambda name: entries)


@pytest.fixture
def busi(build: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    root = tmp_path / "Dataset_BUSI_with_GT"
    parts = ("train", "train", "train", "val", "test", "test")
    files = {f"{c}/{c} ({i + 1}).png": (c, parts[i]) for c in build.CLASSES for i in range(6)}
    publish(build, monkeypatch, root, files)
    for name in [*files]:
        for suffix in ("_mask", "_mask_1"):
            build.save(root / name.replace(".png", f"{suffix}.png"), build.noise(99))
    return root


def busi_task(build: ModuleType) -> TaskSpec:
    return build.folder_task("manifest", "busi", "image_folder", file_list="list.csv", directory="busi")


def test_busi_as_published_is_official_and_without_masks(build: ModuleType, busi: Path) -> None:
    for where in (busi.parent, busi):
        data = load_dataset(busi_task(build), data_dir=where)
        assert counts(data) == {(s, c): n for s, n in (("train", 3), ("val", 1), ("test", 2)) for c in (0, 1)}
        assert not any("mask" in s.id for s in data.samples)
        assert data.official


def test_one_changed_missing_or_moved_file_makes_busi_unofficial(build: ModuleType, busi: Path) -> None:
    path = busi / "benign/benign (1).png"
    original = path.read_bytes()
    path.write_bytes(original + b" ")  # the same pixels
    assert not load_dataset(busi_task(build), data_dir=busi).official
    path.unlink()
    assert not load_dataset(busi_task(build), data_dir=busi).official
    (busi / "malignant/malignant (77).png").write_bytes(original)
    with pytest.raises(DataError, match=r"`malignant/malignant \(77\)\.png` is not in the task's file list"):
        load_dataset(busi_task(build), data_dir=busi)


def test_other_labels_for_the_published_files_are_unofficial(build: ModuleType, busi: Path) -> None:
    parts = ("train", "train", "train", "val", "test", "test")
    rows = [
        {"file": f"{c}/{c} ({i + 1}).png", "label": c, "split": parts[i], "patient_id": ""}
        for c in build.CLASSES
        for i in range(6)
    ]
    build.write_manifest(busi, rows)
    assert load_dataset(busi_task(build), data_dir=busi).official
    for change in ({"label": "malignant"}, {"split": "val"}):
        build.write_manifest(busi, [rows[0] | change, *rows[1:]])
        assert not load_dataset(busi_task(build), data_dir=busi).official


def test_busi_needs_a_list_for_its_split(build: ModuleType, busi: Path) -> None:
    with pytest.raises(DataError, match="BUSI has no split of its own"):
        load_dataset(build.folder_task("busi", directory="busi"), data_dir=busi)


@pytest.fixture
def covid(build: ModuleType, tmp_path: Path) -> Path:
    root = tmp_path / "COVID-CT"
    for c in ("COVID", "NonCOVID"):
        names = [f"{c} p{i}%0.png" for i in range(6)]
        save_all(build, root / "Images-processed" / f"CT_{c}", [] if c == "COVID" else names)
        for seed, name in enumerate(names):
            build.save(root / "Images-processed" / f"CT_{c}" / name, build.noise(seed + 50 * (c == "COVID")))
        for split, part in (("train", names[:3]), ("val", names[3:4]), ("test", names[4:])):
            path = root / "Data-split" / c / f"{split}CT_{c}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(part) + "\n\n")
    return root


def covid_task(build: ModuleType) -> TaskSpec:
    folders = {"COVID": "CT_COVID", "NonCOVID": "CT_NonCOVID"}
    return build.folder_task(
        "manifest", "covid_ct", classes=("COVID", "NonCOVID"), class_folders=folders, directory="covid_ct"
    )


def test_covid_ct_as_published(build: ModuleType, covid: Path) -> None:
    for where in (covid.parent, covid):
        data = load_dataset(covid_task(build), data_dir=where)
        assert counts(data) == {(s, c): n for s, n in (("train", 3), ("val", 1), ("test", 2)) for c in (0, 1)}
        assert data.samples[0].id == "CT_COVID/COVID p0%0.png"
        assert not data.official


@pytest.mark.parametrize(
    ("split", "line", "message"),
    [
        ("train", "gone.png", r"`CT_COVID/gone\.png` of `Data-split` is missing"),
        ("test", "COVID p0%0.png", "`COVID p0%0.png` is in train as well"),
    ],
)
def test_wrong_splits_of_covid_ct(
    build: ModuleType, covid: Path, split: str, line: str, message: str
) -> None:
    path = covid / f"Data-split/COVID/{split}CT_COVID.txt"
    path.write_text(path.read_text() + line)
    with pytest.raises(DataError, match=message):
        load_dataset(covid_task(build), data_dir=covid)


def test_covid_ct_images_without_a_split_are_refused(build: ModuleType, covid: Path) -> None:
    build.save(covid / "Images-processed/CT_COVID/new.png", build.noise(7))
    with pytest.raises(DataError, match=r"new\.png: no split"):
        load_dataset(covid_task(build), data_dir=covid)
    (covid / "Data-split/COVID/valCT_COVID.txt").unlink()
    with pytest.raises(DataError, match=r"valCT_COVID\.txt: cannot be read"):
        load_dataset(covid_task(build), data_dir=covid)


def test_the_shipped_lists_name_what_their_layouts_read() -> None:
    for name, folder in (("busi.csv", "benign/benign (1).png"), ("covid19_ct.csv", "CT_NonCOVID/1924.jpg")):
        path = Path(sources.__file__).parents[2] / "tasks/lists" / name
        with path.open(newline="", encoding="utf-8") as stream:
            files = {row["file"] for row in csv.DictReader(stream)}
        assert folder in files or folder.replace(".jpg", ".png") in files
