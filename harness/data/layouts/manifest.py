"""Read a folder that says itself what it holds: `manifest.csv` with `file,label,split,patient_id`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from harness.data.dataset import DataError
from harness.data.listing import ListedImage, Listing, open_file
from tasks.sources import SPLITS, SplitName

MANIFEST = "manifest.csv"
PATIENT_COLUMN = "patient_id"

_REQUIRED = ("file", "label", "split")


def is_manifest(folder: Path) -> bool:
    """Tell whether the folder has a manifest."""
    return (folder / MANIFEST).is_file()


def is_manifest_of(folder: Path, class_names: Sequence[str]) -> bool:
    """Tell whether the folder has a manifest whose first label is one of these classes."""
    if not is_manifest(folder):
        return False
    _, row = next(_rows(folder / MANIFEST, ()), (0, {}))
    return row.get("label", "").strip() in class_names


def list_manifest(folder: Path, class_names: Sequence[str], group_column: str | None = None) -> Listing:
    """List the images of a manifest, in the order of their paths.

    The columns `file` (relative to the folder, forward slashes), `label` and `split` are required, the
    patient column (`group_column`, else `patient_id`) is read where it is there; others are ignored.
    `split` may be empty in all rows; then the project splits the images.

    Raises:
        DataError: naming the line, if a column is missing, a label or split is unknown, a path is
            absolute, leaves the folder, stands twice or leads to no file.
    """
    path = folder / MANIFEST
    patient_column = group_column or PATIENT_COLUMN
    required = (*_REQUIRED, group_column) if group_column else _REQUIRED
    lines: dict[str, int] = {}
    images: list[ListedImage] = []
    for line, row in _rows(path, required):
        place = f"{path}:{line}"
        image = _listed(place, folder, row, class_names, patient_column)
        if image.id in lines:
            raise DataError(
                f"{place}: `{image.id}` stands in line {lines[image.id]} already; keep one of them"
            )
        lines[image.id] = line
        images.append(image)
    if not images:
        raise DataError(f"{path}: lists no image")
    without = next((image for image in images if image.split is None), None)
    if without is not None and any(image.split for image in images):
        place = f"{path}:{lines[without.id]}"
        raise DataError(f"{place}: no split, though other lines have one; give one to every line or to none")
    images.sort(key=lambda image: image.id)
    return Listing("manifest", folder, tuple(images), open_file)


def _rows(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and values of every row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, strict=True)
            missing = [column for column in required if column not in (rows.fieldnames or ())]
            if missing:
                found = ", ".join(rows.fieldnames or ()) or "nothing"
                raise DataError(f"{path}:1: no column `{'`, `'.join(missing)}`; the file has {found}")
            for row in rows:
                if None in row or None in row.values():
                    wanted = f"the header has {len(rows.fieldnames or ())}"
                    raise DataError(f"{path}:{rows.line_num}: another number of values than {wanted}")
                yield rows.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: no readable CSV in UTF-8 ({error})") from error


def _listed(
    place: str, folder: Path, row: dict[str, str], class_names: Sequence[str], patient_column: str
) -> ListedImage:
    name, label, split = row["file"].strip(), row["label"].strip(), row["split"].strip()
    path = PurePosixPath(name)
    if not name or path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts:
        raise DataError(f"{place}: file: `{name}` must be a path below the folder, without `..`")
    if label not in class_names:
        raise DataError(f"{place}: label: `{label}` is none of the classes {', '.join(class_names)}")
    if split and split not in SPLITS:
        raise DataError(f"{place}: split: `{split}` must be {', '.join(SPLITS)} or empty")
    if not (folder / path).is_file():
        raise DataError(
            f"{place}: file: `{name}` is not in {folder}; name it from there, as in images/0001.png"
        )
    patient = row.get(patient_column, "").strip() or None
    known: SplitName | None = split if split else None
    return ListedImage(path.as_posix(), list(class_names).index(label), known, patient, folder / path)
