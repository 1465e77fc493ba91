"""Lists of a data set's published files, by which a copy is recognised as the official one."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import get_args

from tasks.document import SHIPPED
from tasks.sources import SplitName
from tasks.spec import TaskError

COLUMNS = ("file", "label", "split", "patient_id", "sha256")


@dataclass(frozen=True)
class PublishedFile:
    """One file of a data set as its authors publish it."""

    file: str  # class folder and file name
    label: str  # name of the class
    split: SplitName
    patient_id: str  # empty where no patients are known
    sha256: str  # of the file's bytes


def read_file_list(name: str) -> tuple[PublishedFile, ...]:
    """Read a list of `tasks/lists`, in its order.

    Raises:
        TaskError: if the list is missing or a line of it is wrong.
    """
    path = SHIPPED / "lists" / name
    if not path.is_file():
        known = ", ".join(sorted(p.name for p in path.parent.glob("*.csv")))
        raise TaskError(f"no file list `{name}`; there are {known}")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise TaskError(f"{path}:1: the columns must be {', '.join(COLUMNS)}")
        return tuple(_entry(row, f"{path}:{rows.line_num}") for row in rows)


def _entry(row: dict[str, str], place: str) -> PublishedFile:
    if None in row or None in row.values():
        raise TaskError(f"{place}: needs {len(COLUMNS)} values")
    if row["split"] not in get_args(SplitName):
        raise TaskError(f"{place}: split: `{row['split']}` must be {' or '.join(get_args(SplitName))}")
    if re.fullmatch(r"[0-9a-f]{64}", row["sha256"]) is None:
        raise TaskError(f"{place}: sha256: `{row['sha256']}` must be 64 hexadecimal digits")
    return PublishedFile(**row)  # type: ignore[arg-type]  # the split was checked just now
