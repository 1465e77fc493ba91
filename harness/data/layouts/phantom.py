"""List generated images; what was drawn once is kept in the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.dataset import DataError
from harness.data.layouts.npz import listed_in_array
from harness.data.listing import ListedImage, Listing
from harness.data.progress import Step
from tasks.files import kept_or_made
from tasks.sources import SPLITS, PhantomSource

_CHUNK = 32


def list_phantom(source: PhantomSource, cache: Path, step: Step) -> Listing:
    """Draw the images of every split, or take them from the cache.

    Raises:
        DataError: if the task asks for another version of the generator than this one.
    """
    from harness.data.phantom import GENERATOR_VERSION

    if source.generator_version != GENERATOR_VERSION:
        wanted = f"generator version {source.generator_version}"
        raise DataError(
            f"phantom: the task asks for {wanted}, this is {GENERATOR_VERSION}; install the other one"
        )
    arrays: dict[str, np.ndarray] = {}
    listed: list[ListedImage] = []
    for split in SPLITS:
        if split in source.splits:
            part = source.splits[split]
            drawn = _Range(part.first or 0, part.count or 0, source.size)
            arrays[split], labels = drawn.images_and_labels(cache, GENERATOR_VERSION, step)
            listed += listed_in_array(split, labels)

    def open_image(image: ListedImage) -> Image.Image:
        split, index = image.id.split("/")
        return Image.fromarray(arrays[split][int(index)])

    return Listing("phantom", None, tuple(listed), open_image)


class _Range:
    """A range of generated images, and the file that keeps it."""

    def __init__(self, first: int, count: int, size: int) -> None:
        self.first, self.count, self.size = first, count, size

    def images_and_labels(self, cache: Path, version: int, step: Step) -> tuple[np.ndarray, np.ndarray]:
        """Return uint8 (count, size, size) and int64 (count,)."""
        name = f"phantom-{version}-{self.size}-{self.first}-{self.count}.npz"
        path = cache / "phantom" / name
        return kept_or_made(path, read=self._kept, make=lambda: self._drawn(step), write=_keep)

    def _kept(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        with np.load(path, allow_pickle=False) as kept:
            images, labels = kept["images"], kept["labels"]
        if images.shape != (self.count, self.size, self.size) or labels.shape != (self.count,):
            raise ValueError("of another form")
        return images, labels

    def _drawn(self, step: Step) -> tuple[np.ndarray, np.ndarray]:
        from harness.data.phantom import generate

        parts = []
        with step("drawing phantom images", self.count) as advance:
            for start in range(0, self.count, _CHUNK):
                count = min(_CHUNK, self.count - start)
                parts.append(generate(self.first + start, count, size=self.size))
                advance(count)
        return np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts])


def _keep(drawn: tuple[np.ndarray, np.ndarray], path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, images=drawn[0], labels=drawn[1])
