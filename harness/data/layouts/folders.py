"""Read image files whose folders name split and class: `train/benign/1.png`, or `benign/1.png`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.data.dataset import DataError
from harness.data.decode import SUFFIXES
from harness.data.listing import ListedImage, Listing, open_file
from tasks.sources import SPLITS, FolderSource, SplitName


def class_folders(source: FolderSource, class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the folder name of every class."""
    return tuple(source.class_folders.get(name, name) for name in class_names)


def split_folders(source: FolderSource) -> dict[SplitName, str]:
    """Return the folder name of every split of the task."""
    return {split: source.splits[split].folder or split for split in SPLITS if split in source.splits}


def is_image_folder(folder: Path, source: FolderSource, class_names: Sequence[str]) -> bool:
    """Tell whether split folders, or the folder itself, hold a folder for every class."""
    classes = class_folders(source, class_names)
    return _is_divided(folder, source, classes) or all((folder / name).is_dir() for name in classes)


def list_image_folder(folder: Path, source: FolderSource, class_names: Sequence[str]) -> Listing:
    """List `split/class/file`, or `class/file` where there are no split folders.

    A split folder that the task does not name is not read; a class folder that it does not name is an
    error, for its images would go missing.

    Raises:
        DataError: if there is no image, or a folder that is no class.
    """
    return _list("image_folder", folder, source, class_names, patient=lambda stem: None)


def list_kermany(folder: Path, source: FolderSource, class_names: Sequence[str]) -> Listing:
    """List Kermany's chest X-rays: `train/NORMAL/IM-0115-0001.jpeg`, with patients from the file names.

    Raises:
        DataError: as `list_image_folder`, or where a name tells no patient.
    """

    def patient(stem: str) -> str:
        found = kermany_patient(stem)
        if found is None:
            raise DataError(
                f"{folder}: `{stem}` is not named as Kermany's images are, such as person1_virus_6"
            )
        return found

    return _list("kermany", folder, source, class_names, patient)


def is_kermany(folder: Path, source: FolderSource, class_names: Sequence[str]) -> bool:
    """Tell whether there are split folders and the first image in them is named as Kermany's are."""
    classes = class_folders(source, class_names)
    if not _is_divided(folder, source, classes):
        return False
    inside = folder / next(iter(split_folders(source).values())) / classes[0]
    first = next(iter(image_files(inside)), None)
    return first is not None and kermany_patient(first.stem) is not None


def kermany_patient(stem: str) -> str | None:
    """Return the patient that a file name tells, or None.

    `person1946_bacteria_4874` is of `person1946`, `IM-0115-0001` of `IM-0115`. `NORMAL2-IM-1427-0001`
    is of `NORMAL2-IM-1427`: its numbers are a series of their own.
    """
    found = re.match(r"(person\d+)_(?:bacteria|virus)_\d+$|((?:NORMAL\d+-)?IM-\d+)-\d+(?:-\d+)*$", stem)
    return (found[1] or found[2]) if found else None


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the image files below a folder, sorted by path; hidden files and other types are left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield path


def _is_divided(folder: Path, source: FolderSource, classes: Sequence[str]) -> bool:
    """Tell whether there is a split folder with a class in it."""
    return any(
        (folder / split / name).is_dir() for split in split_folders(source).values() for name in classes
    )


def _list(
    layout: str,
    folder: Path,
    source: FolderSource,
    class_names: Sequence[str],
    patient: Callable[[str], str | None],
) -> Listing:
    classes = class_folders(source, class_names)
    splits: list[tuple[SplitName | None, str]] = [(None, ".")]
    if _is_divided(folder, source, classes):
        splits = [(split, name) for split, name in split_folders(source).items()]
    images: list[ListedImage] = []
    for split, name in splits:
        _refuse_other_folders(folder / name, classes)
        for label, class_folder in enumerate(classes):
            for path in image_files(folder / name / class_folder):
                identifier = path.relative_to(folder).as_posix()
                images.append(ListedImage(identifier, label, split, patient(path.stem), path))
    if not images:
        raise DataError(f"{folder}: no images in {', '.join(classes)}")
    images.sort(key=lambda image: image.id)
    return Listing(layout, folder, tuple(images), open_file)


def _refuse_other_folders(folder: Path, classes: Sequence[str]) -> None:
    """Refuse a folder of images beside the classes', which would be left out in silence."""
    expected = {name.split("/")[0] for name in classes}
    for other in sorted(folder.iterdir()) if folder.is_dir() else ():
        if other.is_dir() and other.name not in expected and next(image_files(other), None) is not None:
            raise DataError(f"{other}: holds images but is no class; the classes are {', '.join(classes)}")
