"""The five real sets load from a folder as a user has it, with the counts that are known of them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from harness.data.dataset import Dataset
from harness.data.decode import decode
from harness.data.groups import near_duplicate_links, thumbnail
from harness.data.layouts.folders import kermany_patient
from harness.data.sources import load_dataset
from tasks import catalog

pytestmark = pytest.mark.real_images


def load(name: str, folder: Path) -> Dataset:
    data = load_dataset(catalog.load(name), data_dir=folder, offline=True)
    groups = [{s.group for s in data.split(split)} for split in ("train", "val", "test")]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert not data.official
    image = data.read(data.samples[0])
    assert image.mode == "RGB"
    assert np.asarray(image).std() > 0
    return data


def counts(data: Dataset) -> dict[str, tuple[int, ...]]:
    found = Counter((s.split, s.label) for s in data.samples)
    return {
        split: tuple(found[split, label] for label in range(len(data.task.classes)))
        for split in ("train", "val", "test")
    }


def test_busi(real_data: Path) -> None:
    data = load("busi", real_data)
    assert counts(data)["test"] == (22, 92, 42)
    assert sum(map(sum, counts(data).values())) + data.report.dropped_train + data.report.dropped_val == 780
    assert data.report.grouped_by == "near-duplicates"


def test_the_known_duplicate_of_busi_is_found(real_data: Path) -> None:
    with (real_data / "busi/manifest.csv").open(newline="", encoding="utf-8") as stream:
        pairs = [(r["file"], r["duplicate_of"]) for r in csv.DictReader(stream) if r["duplicate_of"]]
    assert pairs
    for pair in pairs:
        pictures = [thumbnail(decode(real_data / "busi" / file)) for file in pair]
        assert near_duplicate_links(np.stack(pictures)) == [(0, 1)]


def test_breastmnist_leaks_and_its_training_images_are_dropped(real_data: Path) -> None:
    data = load("breastmnist", real_data)
    assert len(data.split("test")) == 156
    assert data.report.dropped_train + data.report.dropped_val > 100
    assert len(data.samples) + data.report.dropped_train + data.report.dropped_val == 780


def test_distinct_tissue_is_not_merged(real_data: Path) -> None:
    data = load("pathmnist", real_data)
    assert [len(data.split(split)) for split in ("train", "val", "test")] == [600, 151, 249]
    assert len({s.group for s in data.samples}) == 1000


def test_covid_ct(real_data: Path) -> None:
    data = load("covid19_ct", real_data)
    assert counts(data) == {"train": (191, 234), "val": (60, 58), "test": (98, 105)}
    assert (data.report.grouped_by, data.report.dropped_train) == ("patient_id", 0)


def test_chest_x_rays(real_data: Path) -> None:
    data = load("chest_xray", real_data)
    assert counts(data)["test"] == (200, 200)
    report = data.report
    assert report.dropped_train > 0
    assert len(data.split("val")) == report.val_cut_from_train
    assert len(data.samples) + report.dropped_train == 1400
    assert report.val_cut_from_train == pytest.approx(0.15 * (1000 - report.dropped_train), abs=3)


def test_patients_of_file_names_are_those_of_the_manifest(real_data: Path) -> None:
    with (real_data / "chest_xray/manifest.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            assert kermany_patient(Path(row["file"]).stem) == row["patient_id"]
