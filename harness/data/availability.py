"""Tell, without reading any image, whether a task's data can be had here."""

from __future__ import annotations

from pathlib import Path

from harness.data.fetch.download import check_download
from harness.data.fetch.hub_repository import check_hub
from harness.data.locate import data_folder, find_folder, find_npz, search_folders
from tasks.spec import FolderSource, HubSource, NpzSource, TaskSpec


def check_data(task: TaskSpec, *, data_dir: Path | None, offline: bool, assume_yes: bool) -> None:
    """Check that a task's data lie here, are generated, or may be downloaded.

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
