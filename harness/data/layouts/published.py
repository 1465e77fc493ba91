"""Read BUSI and COVID-CT as their authors publish them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.data.dataset import DataError
from harness.data.layouts.folders import class_folders, image_files
from harness.data.listing import ListedImage, Listing, open_file
from tasks.file_list import PublishedFile
from tasks.sources import SPLITS, FolderSource, SplitName

_COVID_IMAGES = "Images-processed"
_COVID_SPLITS = "Data-split"


def is_busi(folder: Path, source: FolderSource, class_names: Sequence[str]) -> bool:
    """Tell whether every class has a folder and masks lie beside the images or names are BUSI's."""
    first = class_folders(source, class_names)[0]
    named = next(iter(image_files(folder / first)), None)
    classes_there = all((folder / name).is_dir() for name in class_folders(source, class_names))
    return classes_there and named is not None and named.stem.startswith(f"{first} (")


def list_busi(
    folder: Path,
    source: FolderSource,
    class_names: Sequence[str],
    published: Sequence[PublishedFile],
) -> Listing:
    """List `benign/benign (1).png` and so on; masks (`…_mask.png`, `…_mask_1.png`) are left out.

    BUSI has no split of its own: the task's file list gives it, by class folder and file name.

    Raises:
        DataError: if there is no file list, or an image that it lacks.
    """
    known = {entry.file: entry for entry in published}
    if not known:
        raise DataError(f"{folder}: BUSI has no split of its own, and the task names no `file_list` with one")
    images: list[ListedImage] = []
    for label, name in enumerate(class_folders(source, class_names)):
        for path in image_files(folder / name):
            if "_mask" not in path.stem:
                image = ListedImage(path.relative_to(folder).as_posix(), label, None, None, path)
                images.append(_as_published(image, known, class_names, folder))
    images.sort(key=lambda image: image.id)
    return Listing("busi", folder, tuple(images), open_file)


def is_covid_ct(folder: Path, source: FolderSource, class_names: Sequence[str]) -> bool:
    """Tell whether the image folders of all classes are there, below `Images-processed` or not."""
    return _covid_images(folder, class_folders(source, class_names)) is not None


def list_covid_ct(
    folder: Path,
    source: FolderSource,
    class_names: Sequence[str],
    published: Sequence[PublishedFile],
) -> Listing:
    """List COVID-CT: `CT_COVID` and `CT_NonCOVID`, unpacked, below `Images-processed` or not.

    The split is that of `Data-split/COVID/trainCT_COVID.txt` and its siblings where they are there, else
    that of the task's file list, which also tells the patients.

    Raises:
        DataError: if an image has no split, or a split names an image that is not there.
    """
    classes = class_folders(source, class_names)
    images_folder = _covid_images(folder, classes)
    if images_folder is None:
        raise DataError(
            f"{folder}: no folders {' and '.join(classes)}; unpack the zip files of the same names"
        )
    known = {entry.file: entry for entry in published}
    splits = _covid_splits(folder, class_names, classes)
    images: list[ListedImage] = []
    for label, name in enumerate(classes):
        for path in image_files(images_folder / name):
            image = ListedImage(path.relative_to(images_folder).as_posix(), label, None, None, path)
            if image.id in known:
                image = _as_published(image, known, class_names, folder)
            split = splits.pop(image.id, None) or image.split
            if split is None:
                raise DataError(
                    f"{path}: no split; neither `{_COVID_SPLITS}` nor the task's file list has it"
                )
            images.append(replace(image, split=split))
    if splits:
        raise DataError(
            f"{images_folder}: `{min(splits)}` of `{_COVID_SPLITS}` is missing; get the images anew"
        )
    images.sort(key=lambda image: image.id)
    return Listing("covid_ct", images_folder, tuple(images), open_file)


def _as_published(
    image: ListedImage, known: Mapping[str, PublishedFile], class_names: Sequence[str], folder: Path
) -> ListedImage:
    """Give an image the split and patient that the file list has for it."""
    entry = known.get(image.id)
    if entry is None:
        raise DataError(
            f"{folder}: `{image.id}` is not in the task's file list, so it has no split; remove it"
        )
    if entry.label != class_names[image.label]:
        raise DataError(f"{folder}: `{image.id}` is {entry.label} in the task's file list; put it back there")
    return replace(image, split=entry.split, patient_id=entry.patient_id.strip() or None)


def _covid_images(folder: Path, classes: Sequence[str]) -> Path | None:
    for candidate in (folder, folder / _COVID_IMAGES):
        if all((candidate / name).is_dir() for name in classes):
            return candidate
    return None


def _covid_splits(folder: Path, class_names: Sequence[str], classes: Sequence[str]) -> dict[str, SplitName]:
    """Return the split of each image path; empty where `Data-split` is not there."""
    root = next((f for f in (folder, folder.parent) if (f / _COVID_SPLITS).is_dir()), None)
    splits: dict[str, SplitName] = {}
    if root is None:
        return splits
    for class_name, class_folder in zip(class_names, classes, strict=True):
        for split in SPLITS:
            path = root / _COVID_SPLITS / class_name / f"{split}CT_{class_name}.txt"
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"{path}: cannot be read ({error}); get `{_COVID_SPLITS}` anew") from error
            for line in filter(None, map(str.strip, lines)):
                file = f"{class_folder}/{line}"
                if splits.setdefault(file, split) != split:
                    raise DataError(f"{path}: `{line}` is in {splits[file]} as well")
    return splits
