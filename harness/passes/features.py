"""Pooled features on disk: one safetensors file, laid out in advance and filled row by row.

Memory stays flat however many images there are, rows can be written again after a kill, and the file
is ordinary safetensors: any reader opens it.
"""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np

from tasks.files import replacing


class FeatureFile:
    """A safetensors file of float32 arrays, one per site, of known shapes (images, width)."""

    def __init__(self, path: Path, offsets: Mapping[str, int], shapes: Mapping[str, tuple[int, int]]) -> None:
        self.path = path
        self._offsets = dict(offsets)
        self._shapes = dict(shapes)
        # Plain reads and writes and no memory map: a full disk is an error there, and here a SIGBUS.
        self._stream = path.open("r+b", buffering=0)

    @staticmethod
    def fits(path: Path, shapes: Mapping[str, tuple[int, int]]) -> bool:
        """Tell whether the file exists, whole, with exactly these arrays."""
        header, _, size = _layout(shapes)
        return path.exists() and path.stat().st_size == size and _starts_with(path, header)

    @classmethod
    def open(cls, path: Path, shapes: Mapping[str, tuple[int, int]]) -> Self:
        """Open a file that `fits`."""
        _, offsets, _ = _layout(shapes)
        return cls(path, offsets, shapes)

    @classmethod
    def create(cls, path: Path, shapes: Mapping[str, tuple[int, int]]) -> Self:
        """Make the file with its whole size reserved on disk.

        Raises:
            OSError: the disk has no room, or the folder cannot be written.
        """
        header, _, size = _layout(shapes)
        _create(path, header, size)
        return cls.open(path, shapes)

    def write(self, features: Mapping[str, np.ndarray], rows: slice) -> None:
        """Write a batch: every site's array of shape (rows, width), on disk when this returns.

        Raises:
            ValueError: a site is missing or unknown, or an array has another shape than its rows.
            OSError: the disk refuses.
        """
        if features.keys() != self._shapes.keys():
            odd = ", ".join(sorted(features.keys() ^ self._shapes.keys()))
            raise ValueError(f"{self.path}: features of other sites than were reserved: {odd}")
        for key, array in features.items():
            count, width = self._shapes[key]
            wanted = (len(range(*rows.indices(count))), width)
            if array.shape != wanted:
                raise ValueError(f"{self.path}: {key}: features of shape {array.shape}, wanted {wanted}")
        for key, array in features.items():
            data = np.ascontiguousarray(array, dtype="<f4").tobytes()
            self._stream.seek(self._place(key, rows.indices(self._shapes[key][0])[0]))
            written = 0
            while written < len(data):
                written += self._stream.write(data[written:])
        os.fsync(self._stream.fileno())

    def read(self, key: str, rows: slice) -> np.ndarray:
        """Return a site's rows as a float32 array in memory, shape (rows, width)."""
        count, width = self._shapes[key]
        first, stop, _ = rows.indices(count)
        wanted = max(stop - first, 0) * width
        self._stream.seek(self._place(key, first))
        values = np.fromfile(self._stream, dtype="<f4", count=wanted)
        if len(values) != wanted:
            raise OSError(errno.EIO, "ends early", str(self.path))
        return values.reshape(-1, width).astype(np.float32, copy=False)

    def close(self) -> None:
        """Let go of the file."""
        self._stream.close()

    def _place(self, key: str, row: int) -> int:
        return self._offsets[key] + row * self._shapes[key][1] * 4


def _layout(shapes: Mapping[str, tuple[int, int]]) -> tuple[bytes, dict[str, int], int]:
    """Return the safetensors header, each array's offset in the file, and the file's size in bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    starts: dict[str, int] = {}
    for key, (rows, width) in shapes.items():
        end = position + rows * width * 4
        entries[key] = {"dtype": "F32", "shape": [rows, width], "data_offsets": [position, end]}
        starts[key] = position
        position = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the data aligned to 8 bytes
    header = struct.pack("<Q", len(text)) + text
    return header, {key: len(header) + start for key, start in starts.items()}, len(header) + position


def _starts_with(path: Path, header: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(header)) == header


def _create(path: Path, header: bytes, size: int) -> None:
    with replacing(path, exclusive=True) as part, part.open("wb") as stream:
        stream.write(header)
        stream.flush()
        _reserve(stream.fileno(), size)


def _reserve(descriptor: int, size: int) -> None:
    """Claim disk blocks now, so that a full disk is an error before hours of work and not after."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
    os.ftruncate(descriptor, size)  # file systems without reservation
