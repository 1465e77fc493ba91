"""The index of decoded images is used while files are the same, and built anew where it is damaged."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from harness.console import Advance
from harness.data.dataset import Dataset
from harness.data.sources import load_dataset
from tasks.files import cache_folder


class Steps:
    """Remembers how many images each step worked on."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    @contextmanager
    def __call__(self, title: str, total: int, unit: str = "images") -> Iterator[Advance]:
        self.done[title] = 0

        def advance(count: int = 1) -> None:
            self.done[title] += count

        yield advance


def load(build: ModuleType, folder: Path) -> tuple[Dataset, int]:
    steps = Steps()
    return load_dataset(build.folder_task("manifest"), data_dir=folder, progress=steps), steps.done.get(
        "reading images", 0
    )


@pytest.fixture
def folder(build: ModuleType, tmp_path: Path) -> Path:
    build.write_manifest(tmp_path / "set", build.small_manifest(tmp_path / "set"))
    return tmp_path


def test_images_are_decoded_once(build: ModuleType, folder: Path) -> None:
    first, decoded = load(build, folder)
    assert decoded == 12
    second, decoded = load(build, folder)
    assert decoded == 0
    assert second.samples == first.samples


def test_a_changed_file_is_decoded_again(build: ModuleType, folder: Path) -> None:
    first, _ = load(build, folder)
    path = folder / "set" / first.samples[0].id
    build.save(path, build.noise(77))
    os.utime(path, ns=(1, 1))
    second, decoded = load(build, folder)
    assert decoded == 1
    assert second.fingerprint != first.fingerprint
    assert second.samples[0].pixel_hash != first.samples[0].pixel_hash


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04nothing", None])
def test_a_damaged_index_is_built_anew_with_a_warning(
    build: ModuleType, folder: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = load(build, folder)
    (index,) = (cache_folder() / "index").glob("*.npz")
    data = index.read_bytes()
    index.write_bytes(data[: len(data) // 2] if damage is None else damage)
    with caplog.at_level(logging.WARNING):
        second, decoded = load(build, folder)
    assert decoded == 12
    assert second == Dataset(**{**vars(first), "read": second.read})
    assert "is damaged" in caplog.text
    assert load(build, folder)[1] == 0


def test_an_index_of_another_form_is_built_anew(build: ModuleType, folder: Path) -> None:
    first, _ = load(build, folder)
    (index,) = (cache_folder() / "index").glob("*.npz")
    with np.load(index) as arrays:
        np.savez(index, **(dict(arrays) | {"thumbnail": arrays["thumbnail"][:, :8]}))
    second, decoded = load(build, folder)
    assert (decoded, second.samples) == (12, first.samples)


def test_a_cache_that_cannot_be_written_is_done_without(
    build: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(folder / "file" / "below"))
    assert load(build, folder)[1] == 12
    assert "cannot be kept" in caplog.text
