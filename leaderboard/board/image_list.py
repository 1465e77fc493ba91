"""The list of a task's images: by it a result is known to be about the right ones, with the right labels.

A list is a CSV whose first line says of what it is. Tasks whose images this project makes itself ship one in
`tasks/lists`; for the others a board has its own, made from the keeper's copy of the data.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from leaderboard.record.record import RecordError
from tasks.document import SHIPPED
from tasks.sources import SPLITS, SplitName
from tasks.spec import TaskSpec

COLUMNS = ("split", "id", "label", "group", "pixel_hash")
_HEAD = "# images of task {task} version {version}, {kind} data"


class Listed(Protocol):
    """An image as a list has it, whatever else is known of it."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def split(self) -> SplitName: ...  # noqa: D102
    @property
    def label(self) -> int: ...  # noqa: D102
    @property
    def group(self) -> str: ...  # noqa: D102
    @property
    def pixel_hash(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class ListedSample:
    """One image of a task; `label` is an index into its classes, `pixel_hash` over mode, size and pixels."""

    split: SplitName
    id: str
    label: int
    group: str
    pixel_hash: str


@dataclass(frozen=True)
class ImageList:
    """All images of a task, training first, then validation, then test, each in the order of a run.

    `official` is true where they are the published data.
    """

    task: str
    version: int
    official: bool
    images: tuple[ListedSample, ...] = field(repr=False)

    def split(self, name: SplitName) -> tuple[ListedSample, ...]:
        """Return the images of one split, in order."""
        return tuple(image for image in self.images if image.split == name)

    @property
    def fingerprint(self) -> str:
        """That of the data set; see `dataset_fingerprint`."""
        return dataset_fingerprint(self.images)


def dataset_fingerprint(images: Iterable[Listed]) -> str:
    """Return the sha256 over the lines `split label pixel_hash` of all images, sorted.

    Names, folders and order do not enter; one pixel, one label (as an index) or one split changes it.
    """
    lines = sorted(f"{image.split} {image.label} {image.pixel_hash}\n" for image in images)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def image_list(task: TaskSpec, official: bool, images: Sequence[Listed]) -> ImageList:
    """Make the list of these images; a run's order within each split is kept."""
    listed = tuple(
        ListedSample(image.split, image.id, image.label, image.group, image.pixel_hash)
        for name in SPLITS
        for image in images
        if image.split == name
    )
    return ImageList(task.id, task.version, official, listed)


def dump_image_list(found: ImageList) -> str:
    """Return the list as the text of a file."""
    stream = io.StringIO()
    kind = "official" if found.official else "unofficial"
    stream.write(_HEAD.format(task=found.task, version=found.version, kind=kind) + "\n")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((i.split, i.id, i.label, i.group, i.pixel_hash) for i in found.images)
    return stream.getvalue()


def read_image_list(path: Path, task: TaskSpec) -> ImageList:
    """Read a task's list.

    Raises:
        RecordError: the file is missing, is no such list, or is of another task or version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read ({error})") from error
    head, _, body = text.partition("\n")
    official = {
        _HEAD.format(task=task.id, version=task.version, kind=kind): kind == "official"
        for kind in ("official", "unofficial")
    }
    if head not in official:
        raise RecordError(
            f"{path}:1: {head[:100]!r} names no list of task {task.id} version {task.version}; "
            f"make it anew with `harness leaderboard add-task`"
        )
    try:
        rows = list(csv.reader(io.StringIO(body), strict=True))
    except csv.Error as error:
        raise RecordError(f"{path}: is no CSV ({error})") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise RecordError(f"{path}:2: the columns must be {', '.join(COLUMNS)}")
    images = tuple(_image(row, f"{path}:{line}", task) for line, row in enumerate(rows[1:], start=3))
    seen: set[tuple[str, str]] = set()
    for line, image in enumerate(images, start=3):
        if (image.split, image.id) in seen:
            raise RecordError(f"{path}:{line}: id: {image.id!r} stands there twice in {image.split}")
        seen.add((image.split, image.id))
    if not any(image.split == "test" for image in images):
        raise RecordError(f"{path}: split: no test image")
    return ImageList(task.id, task.version, official[head], images)


def shipped_image_list(task: TaskSpec) -> ImageList | None:
    """Return the list that comes with a task, or None where none does."""
    path = SHIPPED / "lists" / f"{task.id}.images.csv"
    return read_image_list(path, task) if path.is_file() else None


def _image(row: Sequence[str], place: str, task: TaskSpec) -> ListedSample:
    if len(row) != len(COLUMNS):
        raise RecordError(f"{place}: needs {len(COLUMNS)} values")
    split, identifier, label, group, pixel_hash = row
    if split not in SPLITS:
        raise RecordError(f"{place}: split: {split!r} must be {' or '.join(SPLITS)}")
    if label not in map(str, range(len(task.classes))):
        raise RecordError(f"{place}: label: {label!r} is no index of the {len(task.classes)} classes")
    known: SplitName = next(name for name in SPLITS if name == split)
    return ListedSample(known, identifier, int(label), group, pixel_hash)
