"""Read a data set of the Hugging Face hub by the `datasets` library, from files on this machine.

The library prepares an Arrow copy in the cache (HARNESS_CACHE_DIR); images are decoded here, from the bytes that
were published. Code in a repository never runs: only Parquet files and image folders are read, and no file outside
of the repository's folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from harness.console import is_terminal
from harness.data.dataset import DataError
from harness.data.decode import decode, decode_bytes
from harness.data.fetch.hub_repository import check_extra, hub_folder, title_of
from harness.data.listing import ListedImage, Listing
from tasks.files import cache_folder
from tasks.sources import SPLITS, HubSource, SplitName
from tasks.spec import TaskSpec

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder

_FORMATS = ("parquet", "imagefolder")


def list_hub(
    task: TaskSpec, source: HubSource, folders: tuple[Path, ...], *, offline: bool, assume_yes: bool
) -> Listing:
    """List the images of a hub data set in the order of their rows; pixels are read when an image is opened.

    Args:
        task: whose classes the labels are.
        source: the task's source.
        folders: the data directories, in which a copy of the repository may lie.
        offline: fetch nothing.
        assume_yes: agree to a download of more than 200 MB.

    Raises:
        DataError: the files cannot be had or read; a split or column is missing; labels are not the task's classes,
            or an id stands twice.
    """
    check_extra(source)
    folder = hub_folder(source, folders, offline=offline, assume_yes=assume_yes)
    place = f"{title_of(source)} in {folder}"
    prepared, location = _prepared(source, folder, place)
    names = tuple(c.name for c in task.classes)
    tables: dict[SplitName, _Table] = {}
    for split in SPLITS:
        if split in source.splits:
            tables[split] = _table(source, split, prepared, place)
    images: list[ListedImage] = []
    rows: dict[str, tuple[SplitName, int]] = {}
    for split, table in tables.items():
        listed = table.listed(split, source, names)
        rows |= {image.id: (split, row) for row, image in enumerate(listed)}
        images += listed

    def open_image(image: ListedImage) -> Image.Image:
        split, row = rows[image.id]
        return tables[split].picture(source.image_column, row, folder)

    return Listing("hub", location, tuple(images), open_image)


@dataclass(frozen=True)
class _Table:
    """One split of the data set as an Arrow table, which is read from disk row by row."""

    place: str  # repository, folder and split, for messages
    data: Dataset = field(repr=False)
    arrow: Any = field(repr=False)

    def listed(self, split: SplitName, source: HubSource, class_names: tuple[str, ...]) -> list[ListedImage]:
        """Return the split's images, checked but not decoded."""
        labels = self._labels(source.label_column, class_names)
        names = list(self._ids(source.id_column))
        patients = list(self._patients(source.group_column))
        return [
            ListedImage(f"{split}/{name}", label, split, patient)
            for name, label, patient in zip(names, labels, patients, strict=True)
        ]

    def picture(self, column: str, row: int, folder: Path) -> Image.Image:
        """Decode one image from its stored bytes, or from the file of an image folder."""
        stored = self.arrow.column(column)[row].as_py()
        name = f"{self.place}: `{column}`[{row}]"
        stored = stored if isinstance(stored, Mapping) else {"bytes": stored}
        if stored.get("bytes") is not None:
            return decode_bytes(stored["bytes"], name)
        path = stored.get("path")
        if not path:
            raise DataError(f"{name}: no image in this row")
        if not _lies_in(path, folder):
            raise DataError(f"{name}: holds the path of a file outside of the data set, which is never read")
        return decode(Path(path))

    def _values(self, column: str) -> list[Any]:
        return self.arrow.column(column).to_pylist()

    def _labels(self, column: str, class_names: tuple[str, ...]) -> list[int]:
        """Return the labels as indices into the task's classes."""
        from datasets import ClassLabel, Value

        feature = self.data.features[column]
        if isinstance(feature, ClassLabel) and tuple(feature.names) != class_names:
            raise DataError(
                f"{self.place}: `{column}` has the classes {', '.join(feature.names)}, but the task's are "
                f"{', '.join(class_names)}; give the task the same names in the same order"
            )
        kind = "class" if isinstance(feature, ClassLabel) else getattr(feature, "dtype", "")
        text = isinstance(feature, Value) and kind in ("string", "large_string")
        if not text and kind != "class" and not kind.startswith(("int", "uint")):
            raise DataError(
                f"{self.place}: `{column}` holds {feature}; labels are classes, whole numbers or the classes' names"
            )
        known: dict[Any, int] = {name if text else index: index for index, name in enumerate(class_names)}
        labels = []
        for row, value in enumerate(self._values(column)):
            if value not in known:
                wanted = ", ".join(class_names) if text else f"0 to {len(class_names) - 1}"
                found = "empty" if value is None else f"`{value}`"
                raise DataError(
                    f"{self.place}: `{column}`[{row}] is {found}; the task's classes are {wanted}"
                )
            labels.append(known[value])
        return labels

    def _ids(self, column: str | None) -> Iterator[str]:
        """Yield each row's name, which no other row has."""
        if column is None:
            yield from (f"{row:06d}" for row in range(len(self.data)))
            return
        seen: dict[str, int] = {}
        for row, name in enumerate(self._names(column)):
            where = f"{self.place}: `{column}`[{row}]"
            if name is None or not name.isprintable():
                raise DataError(f"{where}: an id must be a whole number or text on one line")
            if name in seen:
                raise DataError(
                    f"{where}: `{name}` stands in row {seen[name]} already; an id names one image"
                )
            seen[name] = row
            yield name

    def _patients(self, column: str | None) -> Iterator[str | None]:
        """Yield each row's patient; None where it has none."""
        yield from self._names(column) if column else (None for _ in range(len(self.data)))

    def _names(self, column: str) -> list[str | None]:
        kind = getattr(self.data.features[column], "dtype", "")
        if not (isinstance(kind, str) and kind.startswith(("int", "uint", "string", "large_string"))):
            raise DataError(
                f"{self.place}: `{column}` holds {self.data.features[column]}; it must hold whole numbers or text"
            )
        return [None if value is None else str(value).strip() or None for value in self._values(column)]


def _table(source: HubSource, split: SplitName, prepared: Mapping[str, Dataset], place: str) -> _Table:
    """Take a split and check that it has the task's columns."""
    name = source.splits[split].split
    assert name is not None  # by the schema
    if name not in prepared:
        raise DataError(f"{place}: no split `{name}`; there are {', '.join(prepared)}")
    data = prepared[name]
    place = f"{place}: split `{name}`"
    columns = (source.image_column, source.label_column, source.group_column, source.id_column)
    for column in columns:
        if column is not None and column not in data.column_names:
            raise DataError(f"{place}: no column `{column}`; there are {', '.join(data.column_names)}")
    if len(data) == 0:
        raise DataError(f"{place}: no images")
    _check_images(data, source.image_column, place)
    return _Table(place, data, data.with_format("arrow")[:])


def _check_images(data: Dataset, column: str, place: str) -> None:
    from datasets import Image as ImageFeature
    from datasets import Value

    feature = data.features[column]
    binary = isinstance(feature, Value) and feature.dtype in ("binary", "large_binary")
    record = isinstance(feature, dict) and "bytes" in feature
    if not (isinstance(feature, ImageFeature) or binary or record):
        raise DataError(f"{place}: `{column}` holds {feature}; it must hold images, or their files' bytes")


def _prepared(source: HubSource, folder: Path, place: str) -> tuple[Mapping[str, Dataset], Path]:
    """Let the library read the folder; return its splits, and where it keeps its copy of this very content."""
    from datasets import load_dataset_builder
    from datasets.exceptions import DatasetsError
    from datasets.utils.info_utils import VerificationMode

    failures = (DatasetsError, OSError, ValueError, RuntimeError, TypeError, KeyError)
    try:
        with _bars_on_terminals():
            builder = load_dataset_builder(
                str(folder), source.configuration, cache_dir=str(cache_folder() / "hub-datasets")
            )
            _check_builder(builder, folder, place)
            builder.download_and_prepare(verification_mode=VerificationMode.BASIC_CHECKS)
            splits = builder.as_dataset()
    except failures as error:
        raise DataError(f"{place}: cannot be read: {_reason(error)}") from error
    return splits, Path(builder.cache_dir)


@contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """Keep the library from drawing bars where nobody looks; it draws them by default."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if is_terminal() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _check_builder(builder: DatasetBuilder, folder: Path, place: str) -> None:
    """Refuse other formats, and files that lie elsewhere: a description may name any address or path."""
    if builder.name not in _FORMATS:
        raise DataError(
            f"{place}: its files are read as `{builder.name}`; only Parquet files and image folders are, and the "
            "hub keeps a Parquet copy of most data sets in the branch refs/convert/parquet"
        )
    for files in (builder.config.data_files or {}).values():
        for file in files:
            if not _lies_in(str(file), folder):
                raise DataError(
                    f"{place}: its description names a file elsewhere, {file}, which is never read"
                )


def _lies_in(path: str, folder: Path) -> bool:
    """Tell whether a path is below the folder by its name; links of the hub's cache lead out of it."""
    root = os.path.abspath(folder)
    return "://" not in path and os.path.isabs(path) and os.path.normpath(path).startswith(root + os.sep)


def _reason(error: BaseException) -> str:
    """Return the innermost reason on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__
