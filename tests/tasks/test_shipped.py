"""The shipped tasks are valid, complete and consistent with the data they speak of."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from tasks import catalog
from tasks.file_list import read_file_list
from tasks.spec import TaskSpec

NAMES = catalog.shipped_names()


def test_the_agreed_tasks_are_shipped() -> None:
    agreed = {"phantom", "pathmnist", "breastmnist", "pneumoniamnist", "busi", "covid19_ct", "chest_xray"}
    assert agreed <= set(NAMES)


@pytest.mark.parametrize("path", sorted(catalog.SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_valid(path: Path) -> None:
    assert catalog.check(path) == ()


@pytest.mark.parametrize("name", [n for n in NAMES if n != "breastmnist"])  # it defines what benign includes
def test_prompts_favour_no_class(name: str) -> None:
    """A prompt that says a class's words beside the list of all classes is no neutral question."""
    task = catalog.load(name)
    for prompt in task.prompts:
        asked_in = prompt.template.lower()
        said = [
            c.wording for c in task.classes if re.search(rf"\b{re.escape(c.wording.lower())}\b", asked_in)
        ]
        assert said == []


@pytest.mark.parametrize("name", NAMES)
def test_prompts_name_the_modality(name: str) -> None:
    """The generic prompts of `_base` are for a user's first task, not for a shipped one."""
    words = ("ultrasound", "histology", "tissue slide", "chest x-ray", "radiograph", "ct")
    for prompt in catalog.load(name).prompts:
        text = prompt.template.lower()
        assert "medical image" not in text
        assert any(re.search(rf"\b{word}\b", text) for word in (*words, "h&e"))


@pytest.mark.parametrize("name", NAMES)
def test_superseding_tasks_exist(name: str) -> None:
    assert catalog.load(name).superseded_by in {None, *NAMES}


def test_pixels_of_copyrighted_images_stay_out_of_reports() -> None:
    assert [name for name in NAMES if not catalog.load(name).redistribute_pixels] == ["covid19_ct"]


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("busi", {"normal": 133, "benign": 437, "malignant": 210}),
        ("covid19_ct", {"CT_COVID": 349, "CT_NonCOVID": 397}),
    ],
)
def test_file_lists_hold_the_published_numbers_of_images(name: str, folders: dict[str, int]) -> None:
    task = catalog.load(name)
    assert task.source.layout == "folder"
    assert task.source.file_list is not None
    files = read_file_list(task.source.file_list)
    assert Counter(f.file.split("/")[0] for f in files) == folders
    assert Counter(f.split for f in files) == task.split_sizes
    folder_of = {c.name: task.source.class_folders.get(c.name, c.name) for c in task.classes}
    assert all(f.file.split("/")[0] == folder_of[f.label] for f in files)
    assert len({f.file for f in files}) == len(files)


def test_no_patient_crosses_a_split_of_covid19_ct() -> None:
    splits: dict[str, set[str]] = {}
    for file in read_file_list("covid19_ct.csv"):
        assert file.patient_id
        splits.setdefault(file.patient_id, set()).add(file.split)
    assert all(len(found) == 1 for found in splits.values())


@pytest.fixture
def real_images() -> Path:
    folder = os.environ.get("HARNESS_TEST_DATA")
    if not folder:
        pytest.skip("HARNESS_TEST_DATA is not set")
    return Path(folder)


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.real_images
@pytest.mark.parametrize("name", ["busi", "covid19_ct"])
def test_file_lists_agree_with_the_manifests_of_the_copies(name: str, real_images: Path) -> None:
    source = catalog.load(name).source
    assert source.layout == "folder"
    rows = manifest(real_images / source.directory)
    expected = {
        (f"{row['file'].split('/')[0]}/{row['orig_name']}", row["label"], row["split"], row["orig_sha256"])
        for row in rows
    }
    listed = read_file_list(str(source.file_list))
    assert {(f.file, f.label, f.split, f.sha256) for f in listed} == expected
    assert len(listed) == len(rows)


@pytest.mark.real_images
@pytest.mark.parametrize("name", ["busi", "covid19_ct", "chest_xray"])
def test_classes_are_the_labels_of_the_copies(name: str, real_images: Path) -> None:
    task = catalog.load(name)
    assert task.source.layout == "folder"
    rows = manifest(real_images / task.source.directory)
    assert {row["label"] for row in rows} == {cls.name for cls in task.classes}


@pytest.mark.real_images
@pytest.mark.parametrize("name", ["pathmnist", "breastmnist"])
def test_npz_labels_index_the_classes_and_copies_are_not_official(name: str, real_images: Path) -> None:
    import numpy as np

    task = catalog.load(name)
    assert task.source.layout == "npz"
    path = real_images / "medmnist" / task.source.file
    with np.load(path) as arrays:
        for split in task.source.splits.values():
            assert set(np.unique(arrays[split.labels])) <= set(range(len(task.classes)))
            assert len(arrays[split.images]) == len(arrays[split.labels])
    assert hashlib.md5(path.read_bytes()).hexdigest() != task.source.md5


def test_a_subset_differs_from_its_task_in_the_subset_alone() -> None:
    small, whole = catalog.load("pathmnist-1k"), catalog.load("pathmnist")
    assert asked(small) == asked(whole)
    assert small.subset is not None
    assert small.split_sizes == small.subset.sizes
    assert small.whole_split_sizes == whole.split_sizes


def test_the_small_phantom_draws_images_of_the_large_one() -> None:
    small, whole = catalog.load("phantom-200"), catalog.load("phantom")
    assert {**asked(small), "source": None} == {**asked(whole), "source": None}
    assert small.source.layout == whole.source.layout == "phantom"
    for split, images in small.source.splits.items():
        assert images.first == whole.source.splits[split].first
        assert images.count is not None
        assert images.count < (whole.source.splits[split].count or 0)


def asked(task: TaskSpec) -> dict[str, object]:
    return task.model_dump(exclude={"id", "title", "description", "subset"})


@pytest.mark.parametrize("name", NAMES)
def test_every_name_wording_and_alias_is_read_as_its_class(name: str) -> None:
    from leaderboard.scoring.reading import read_class, wordings_of

    task = catalog.load(name)
    wordings = wordings_of(task)
    for index, cls in enumerate(task.classes):
        for words in (cls.name, cls.wording, *cls.aliases):
            assert read_class(f"The image shows {words}.", wordings) == index
