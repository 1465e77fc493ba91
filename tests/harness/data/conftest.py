"""What the data tests share: a cache of their own, small tasks and data sets, the folder of real images."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.spec import TaskSpec

CLASSES = ("benign", "malignant")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests away from the user's cache and home."""
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("HARNESS_DATA_DIR", raising=False)


@pytest.fixture
def real_data() -> Path:
    """Return the folder of real images, or skip."""
    folder = os.environ.get("HARNESS_TEST_DATA")
    if not folder:
        pytest.skip("HARNESS_TEST_DATA is not set")
    return Path(folder)


@pytest.fixture
def build() -> ModuleType:
    """Return this module, whose functions build tasks and data sets."""
    return sys.modules[__name__]


def make_task(source: Mapping[str, Any], classes: Sequence[str] = CLASSES, **other: Any) -> TaskSpec:
    """Make a task on a source; everything else is filled in."""
    values: dict[str, Any] = {
        "id": "small",
        "title": "Small",
        "version": 1,
        "modality": "ultrasound",
        "description": "A task for tests.",
        "classes": [{"name": name, "wording": name} for name in classes],
        "prompts": [
            {"id": "free", "kind": "label", "template": "Is it {classes}?"},
            {"id": "paraphrase_1", "kind": "label", "template": "Which is it: {classes}?"},
            {"id": "paraphrase_2", "kind": "label", "template": "Say {classes}."},
            {"id": "letters", "kind": "letters", "template": "Which is it? {options}"},
        ],
        "primary_prompt": "free",
        "source": dict(source),
        "licence": "CC0-1.0",
        "redistribute_pixels": True,
        "citation": "none",
    }
    return TaskSpec.model_validate(values | other)


def folder_task(
    *accepted: str, classes: Sequence[str] = CLASSES, splits: str = "train val test", **other: Any
) -> TaskSpec:
    """Make a task on a folder `set` in the accepted layouts."""
    keys = ("file_list", "class_folders", "group_column", "url", "directory")
    source: dict[str, Any] = {"layout": "folder", "directory": "set", "accepted": accepted}
    source |= {"splits": {name: {"folder": name} for name in splits.split()}}
    source |= {key: other.pop(key) for key in keys if key in other}
    return make_task(source, classes, **other)


def npz_task(
    url: str | None = None, md5: str | None = None, size_bytes: int | None = None, **other: Any
) -> TaskSpec:
    """Make a task on `set.npz`."""
    names = ("train", "val", "test")
    splits = {name: {"images": f"{name}_images", "labels": f"{name}_labels"} for name in names}
    source: dict[str, Any] = {"layout": "npz", "file": "set.npz", "splits": splits}
    task = make_task(source, **other)
    address = {"url": url, "md5": md5, "size_bytes": size_bytes}
    return task.model_copy(update={"source": task.source.model_copy(update=address)})  # http:// is for tests


def noise(seed: int, size: tuple[int, int] = (40, 40)) -> np.ndarray:
    """Return a smooth random picture, uint8 of shape (height, width), unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def save(path: Path, pixels: np.ndarray) -> Path:
    """Save pixels as an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_npz(path: Path, counts: Mapping[str, int] | None = None, **replaced: np.ndarray) -> Path:
    """Write a MedMNIST-style file of different pictures, with labels 0, 1, 0, 1 and so on."""
    arrays: dict[str, np.ndarray] = {}
    seed = 0
    for split, count in (counts or {"train": 8, "val": 4, "test": 4}).items():
        arrays[f"{split}_images"] = np.stack([noise(seed + i, (28, 28)) for i in range(count)])
        arrays[f"{split}_labels"] = (np.arange(count) % 2).astype(np.uint8).reshape(-1, 1)
        seed += count
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **(arrays | replaced))  # type: ignore[arg-type]
    return path


def write_manifest(
    folder: Path, rows: Sequence[Mapping[str, str]], columns: str = "file,label,split,patient_id"
) -> Path:
    """Write `manifest.csv` with these rows; no picture is saved."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns.split(","), extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def small_manifest(folder: Path) -> list[dict[str, str]]:
    """Save 12 pictures and return their manifest's rows, two images a patient."""
    rows = []
    for i in range(12):
        split = ("train", "train", "train", "train", "val", "test")[i // 2]
        name = f"{CLASSES[i % 2]}/{i:02d}.png"
        save(folder / name, noise(i))
        rows.append({"file": name, "label": CLASSES[i % 2], "split": split, "patient_id": f"p{i // 2}"})
    return rows
