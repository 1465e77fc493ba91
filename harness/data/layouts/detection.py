"""Tell which layout a folder has, and list its images by it."""

from __future__ import annotations

from pathlib import Path

from harness.data.dataset import DataError
from harness.data.layouts import folders, manifest
from harness.data.layouts import published as published_sets
from harness.data.listing import Listing
from tasks.file_list import PublishedFile
from tasks.sources import FolderSource
from tasks.spec import TaskSpec

# Names under which data sets are unpacked, beside the task's own `directory`.
_ALIASES: dict[str, tuple[str, ...]] = {
    "busi": ("BUSI", "Dataset_BUSI_with_GT", "Dataset_BUSI/Dataset_BUSI_with_GT"),
    "covid_ct": ("COVID-CT", "COVID-CT-master", "covid-ct"),
    "kermany": ("chest_xray/chest_xray", "ChestXRay2017/chest_xray", "CellData/chest_xray"),
}


def folder_names(source: FolderSource) -> tuple[str, ...]:
    """Return the names that the data set's folder may have below a data directory, the likeliest first."""
    return (source.directory, *(name for layout in source.accepted for name in _ALIASES.get(layout, ())))


def layout_of(folder: Path, task: TaskSpec, source: FolderSource) -> str | None:
    """Return the first accepted layout that the folder has, or None."""
    names = tuple(c.name for c in task.classes)
    for layout in source.accepted:
        match layout:
            case "manifest":
                found = manifest.is_manifest(folder)
            case "image_folder":
                found = folders.is_image_folder(folder, source, names)
            case "kermany":
                found = folders.is_kermany(folder, source, names)
            case "busi":
                found = published_sets.is_busi(folder, source, names)
            case "covid_ct":
                found = published_sets.is_covid_ct(folder, source, names)
        if found:
            return layout
    return None


def is_folder_of(folder: Path, task: TaskSpec, source: FolderSource) -> bool:
    """Tell whether a folder of any name holds this task's data: it has a layout, and the task's labels."""
    layout = layout_of(folder, task, source)
    if layout == "manifest":
        return manifest.is_manifest_of(folder, tuple(c.name for c in task.classes))
    return layout is not None


def list_folder(
    folder: Path, task: TaskSpec, source: FolderSource, published: tuple[PublishedFile, ...]
) -> Listing:
    """List the images of a folder in the first accepted layout that it has.

    Raises:
        DataError: if it has none of them, or is wrong in the one that it has.
    """
    names = tuple(c.name for c in task.classes)
    match layout_of(folder, task, source):
        case "manifest":
            return manifest.list_manifest(folder, names, source.group_column)
        case "image_folder":
            return folders.list_image_folder(folder, source, names)
        case "kermany":
            return folders.list_kermany(folder, source, names)
        case "busi":
            return published_sets.list_busi(folder, source, names, published)
        case "covid_ct":
            return published_sets.list_covid_ct(folder, source, names, published)
    raise DataError(
        f"{folder}: holds {task.id} in none of the layouts {', '.join(source.accepted)}; "
        f"give it class folders {', '.join(folders.class_folders(source, names))} or a manifest.csv"
    )
