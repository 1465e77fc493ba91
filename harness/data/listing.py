"""What a reader of one layout hands over: which images there are, and how to open one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from harness.data.decode import decode
from tasks.sources import SplitName


@dataclass(frozen=True)
class ListedImage:
    """One image before it was decoded. `file` is None where the image lies in an array."""

    id: str  # path below the data set's folder, or `train/000012`
    label: int
    split: SplitName | None  # None where the source has no split
    patient_id: str | None = None
    file: Path | None = None


@dataclass(frozen=True)
class Listing:
    """The images of a source, in a fixed order, and how one is opened at its own bit depth."""

    layout: str
    location: Path | None  # the file or folder; None where the images are generated
    images: tuple[ListedImage, ...]
    open: Callable[[ListedImage], Image.Image] = field(repr=False)


def open_file(image: ListedImage) -> Image.Image:
    """Decode the file of a listed image at its own bit depth."""
    if image.file is None:
        raise ValueError(f"{image.id} is not a file")
    return decode(image.file)
