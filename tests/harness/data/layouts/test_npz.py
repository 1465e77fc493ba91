"""A MedMNIST-style file reads as it is, and a wrong one is refused with what is wrong in it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from harness.data.dataset import DataError
from harness.data.sources import load_dataset


def test_grey_and_colour_images_read_as_rgb(build: ModuleType, tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 3), dtype=np.uint8)
    path = build.write_npz(tmp_path / "set.npz", train_images=colour)
    data = load_dataset(build.npz_task(), data_dir=tmp_path)
    with np.load(path) as arrays:
        grey = arrays["test_images"]
    train, test = data.split("train")[3], data.split("test")[2]
    assert (train.id, test.id) == ("train/000003", "test/000002")
    np.testing.assert_array_equal(np.asarray(data.read(train)), colour[3])
    np.testing.assert_array_equal(np.asarray(data.read(test)), np.repeat(grey[2][..., None], 3, axis=2))
    assert [s.label for s in data.split("test")] == [0, 1, 0, 1]


def test_labels_may_be_flat(build: ModuleType, tmp_path: Path) -> None:
    build.write_npz(tmp_path / "set.npz", train_labels=np.array([1, 0] * 4))
    assert [s.label for s in load_dataset(build.npz_task(), data_dir=tmp_path).split("train")] == [1, 0] * 4


LABELS = np.zeros((8, 1), np.uint8)


@pytest.mark.parametrize(
    ("key", "array", "message"),
    [
        ("train_images", np.zeros((8, 28, 28), np.float32), "`train_images` is float32"),
        ("train_images", np.zeros((8, 28, 28, 4), np.uint8), r"shape \(8, 28, 28, 4\); images must be uint8"),
        ("train_images", np.zeros((8, 28), np.uint8), r"shape \(8, 28\)"),
        ("train_labels", LABELS[:7], r"`train_labels` is uint8 of shape \(7, 1\); labels must be .*\(8, 1\)"),
        ("train_labels", np.zeros((8, 14), np.uint8), r"shape \(8, 14\)"),
        ("train_labels", np.zeros(8), "float64"),
        (
            "train_labels",
            LABELS + np.arange(8).reshape(8, 1) // 5 * 7,
            r"`train_labels`\[5\] is 7; .* 2 classes",
        ),
        ("train_labels", LABELS.astype(int) - 1, r"`train_labels`\[0\] is -1"),
        ("train_labels", np.array([{}] * 8, dtype=object), "`train_labels`: damaged"),
    ],
)
def test_wrong_arrays(build: ModuleType, tmp_path: Path, key: str, array: np.ndarray, message: str) -> None:
    build.write_npz(tmp_path / "set.npz", **{key: array})
    with pytest.raises(DataError, match=rf"set\.npz: .*{message}") as caught:
        load_dataset(build.npz_task(), data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_arrays_name_those_that_are_there(build: ModuleType, tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x_train=LABELS, y_train=LABELS)
    with pytest.raises(DataError, match="no array `train_images`; the file holds x_train, y_train"):
        load_dataset(build.npz_task(), data_dir=tmp_path)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_a_truncated_file(build: ModuleType, tmp_path: Path, part: float) -> None:
    path = build.write_npz(tmp_path / "set.npz")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(DataError, match=r"set\.npz: .*damaged or cut off"):
        load_dataset(build.npz_task(), data_dir=tmp_path)


def test_changed_bytes_inside(build: ModuleType, tmp_path: Path) -> None:
    path = build.write_npz(tmp_path / "set.npz")
    data = bytearray(path.read_bytes())
    data[2000] ^= 0xFF  # a pixel of the first image array; the zip file's checksum tells
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"set\.npz: `train_images`: damaged"):
        load_dataset(build.npz_task(), data_dir=tmp_path)
