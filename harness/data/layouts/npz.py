"""Read a MedMNIST-style npz file: uint8 images and integer labels, two arrays a split."""

from __future__ import annotations

import threading
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from harness.data.dataset import DataError
from harness.data.listing import ListedImage, Listing
from tasks.sources import SPLITS, NpzSource, SplitName

_DAMAGED = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error)


def list_npz(path: Path, source: NpzSource, class_count: int) -> Listing:
    """List the images of an npz file; pixels are read when the first image of a split is opened.

    Raises:
        DataError: if the file is damaged, an array is missing or has the wrong form, or a label is no
            index of a class.
    """
    arrays = _Arrays(path)
    images: list[ListedImage] = []
    keys: dict[str, str] = {}
    for split in SPLITS:
        if split in source.splits:
            named = source.splits[split]
            keys[split] = named.images or f"{split}_images"
            count = arrays.image_count(keys[split])
            labels = arrays.labels(named.labels or f"{split}_labels", count, class_count)
            images += listed_in_array(split, labels)

    def open_image(image: ListedImage) -> Image.Image:
        split, index = image.id.split("/")
        return Image.fromarray(arrays.images(keys[split])[int(index)])

    return Listing("npz", path, tuple(images), open_image)


def listed_in_array(split: SplitName, labels: np.ndarray) -> list[ListedImage]:
    """List the images of an array that has these labels."""
    return [ListedImage(f"{split}/{index:06d}", int(label), split) for index, label in enumerate(labels)]


@dataclass
class _Arrays:
    """The arrays of one npz file; arrays of images are read once, when they are asked for."""

    path: Path
    _read: dict[str, np.ndarray] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def image_count(self, key: str) -> int:
        """Check the form of an array of images, by its header alone."""
        shape, dtype = self._header(key)
        if dtype != np.uint8 or len(shape) not in (3, 4) or shape[3:] not in ((), (3,)):
            wanted = "uint8 of shape (n, height, width) or (n, height, width, 3)"
            raise DataError(f"{self.path}: `{key}` is {dtype} of shape {shape}; images must be {wanted}")
        return shape[0]

    def images(self, key: str) -> np.ndarray:
        """Return an array of images, checked before by `image_count`."""
        with self._lock:  # threads ask for the same array at once
            if key not in self._read:
                self._read[key] = self._load(key)
            return self._read[key]

    def labels(self, key: str, count: int, class_count: int) -> np.ndarray:
        """Return int64 labels of shape (count,)."""
        values = self._load(key)
        if values.dtype.kind not in "iu" or values.shape not in ((count,), (count, 1)):
            found = f"`{key}` is {values.dtype} of shape {values.shape}"
            raise DataError(
                f"{self.path}: {found}; labels must be integers of shape ({count}, 1) or ({count},)"
            )
        values = values.reshape(count).astype(np.int64)
        wrong = np.flatnonzero((values < 0) | (values >= class_count))
        if len(wrong):
            place = f"`{key}`[{wrong[0]}] is {values[wrong[0]]}"
            raise DataError(
                f"{self.path}: {place}; the task's {class_count} classes are 0 to {class_count - 1}"
            )
        return values

    def _load(self, key: str) -> np.ndarray:
        def read(stream: IO[bytes]) -> np.ndarray:
            return np.lib.format.read_array(stream, allow_pickle=False)

        return self._with_member(key, read)

    def _header(self, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        def read(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
            version = np.lib.format.read_magic(stream)
            first = version == (1, 0)
            reader = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(stream)
            return shape, dtype

        return self._with_member(key, read)

    def _with_member(self, key: str, read: Any) -> Any:
        try:
            with zipfile.ZipFile(self.path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
                if key not in names:
                    found = ", ".join(sorted(names)) or "nothing"
                    raise DataError(f"{self.path}: no array `{key}`; the file holds {found}")
                with archive.open(f"{key}.npy") as stream:
                    return read(stream)
        except _DAMAGED as error:
            raise DataError(
                f"{self.path}: `{key}`: damaged or cut off ({error}); get the file anew"
            ) from error
