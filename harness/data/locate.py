"""Find a task's data on this machine, or tell whether it can be had here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.data.dataset import DataError
from harness.data.fetch.download import check_download
from harness.data.fetch.hub_repository import check_hub
from harness.data.layouts.detection import folder_names, is_folder_of
from tasks.files import cache_folder
from tasks.sources import FolderSource, HubSource, NpzSource
from tasks.spec import TaskSpec

ENVIRONMENT = "HARNESS_DATA_DIR"


def data_folder() -> Path:
    """Return the folder of the cache that downloads go to."""
    return cache_folder() / "data"


def search_folders(data_dir: Path | None) -> tuple[Path, ...]:
    """Return the folders to search, in order: `data_dir`, HARNESS_DATA_DIR, the cache, `~/.medmnist`.

    Raises:
        DataError: if a folder that the user named does not exist.
    """
    named = {"--data-dir": data_dir}
    if os.environ.get(ENVIRONMENT):
        named[ENVIRONMENT] = Path(os.environ[ENVIRONMENT])
    chosen = []
    for origin, folder in named.items():
        if folder is not None:
            if not folder.expanduser().is_dir():
                raise DataError(f"{folder}: the folder named by {origin} does not exist")
            chosen.append(folder.expanduser())
    return (*chosen, data_folder(), Path.home() / ".medmnist")


def find_npz(source: NpzSource, folders: tuple[Path, ...]) -> Path | None:
    """Return the first npz file of the task's name in the folders, or in a folder `medmnist` below."""
    for folder in folders:
        for path in (folder / source.file, folder / "medmnist" / source.file):
            if path.is_file():
                return path
    return None


def find_folder(task: TaskSpec, source: FolderSource, folders: tuple[Path, ...]) -> Path:
    """Return the folder that holds the task's images: below one of the folders, or one of them itself.

    Raises:
        DataError: saying where it was looked for and where to get the data.
    """
    for folder in folders:
        for path in _below(folder, source):
            return path
        if folder.is_dir() and is_folder_of(folder, task, source):
            return folder
    looked = ", ".join(str(folder) for folder in folders)
    where = f"; get it from {source.url}" if source.url else ""
    put = f"unpack it as {folders[0] / source.directory} or name its folder with --data-dir"
    raise DataError(f"{task.id}: no folder `{source.directory}` in {looked}{where}, then {put}")


def check_data(task: TaskSpec, *, data_dir: Path | None, offline: bool, assume_yes: bool) -> None:
    """Check, without reading any image, that a task's data lie here, are generated, or may be downloaded.

    Raises:
        DataError: if not; the message says where they were looked for and how to get them.
    """
    folders = search_folders(data_dir)
    if isinstance(task.source, FolderSource):
        find_folder(task, task.source, folders)
    elif isinstance(task.source, HubSource):
        check_hub(task.source, folders, offline=offline, assume_yes=assume_yes)
    elif isinstance(task.source, NpzSource) and find_npz(task.source, folders) is None:
        check_download(task.source, data_folder(), offline=offline, assume_yes=assume_yes)


def _below(folder: Path, source: FolderSource) -> Iterator[Path]:
    """Yield the folders that the data set goes by, but not one that merely holds another of them."""
    names = folder_names(source)
    for name in names:
        path = folder / name
        if path.is_dir() and not any(
            other.startswith(f"{name}/") and (folder / other).is_dir() for other in names
        ):
            yield path
