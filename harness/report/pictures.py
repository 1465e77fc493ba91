"""The pixels of single test images, as addresses that hold the picture itself.

They are read again from the reader's own data, for tasks that come with the package alone, and only where the task
allows its pixels to be passed on and the picture is the one that the model was asked about. Nothing is downloaded,
and no path or address is taken from a result.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from leaderboard.record.record import Record
from leaderboard.record.samples import SampleLine
from leaderboard.words import NAME, plain
from tasks.spec import TaskSpec

SIDE = 160  # pixels: larger pictures are made smaller

NOT_ASKED = "Pictures are added with --images, and --data-dir where the data need one"


@dataclass(frozen=True)
class Pictures:
    """Pictures by the id of their image; `reason` says why some or all are missing, None where none is."""

    by_id: Mapping[str, str] = field(default_factory=dict, repr=False)
    reason: str | None = NOT_ASKED


def read_pictures(record: Record, lines: Iterable[SampleLine], data_dir: Path | None = None) -> Pictures:
    """Read the pictures of these test images of a result again.

    Args:
        record: of the result.
        lines: of the wanted images.
        data_dir: where the data lie; looked for in the usual places otherwise.

    Raises:
        DataError: the task's data cannot be found or read.
    """
    from harness.data.sources import load_dataset

    task = shipped_task(record)
    if task is None:
        name = f"{plain(record.task.name, NAME)} version {record.task.version}"
        return Pictures({}, f"Pictures are shown of tasks that come with the harness alone; {name} is none")
    if not task.redistribute_pixels:
        return Pictures(
            {}, f"No pictures: the licence of {task.id} does not allow its pixels to be passed on"
        )
    wanted = list(lines)
    dataset = load_dataset(task, data_dir=data_dir, offline=True)
    by_id = {sample.id: sample for sample in dataset.split("test")}
    found = {
        line.id: _address(dataset.read(by_id[line.id]))
        for line in wanted
        if line.id in by_id and by_id[line.id].pixel_hash == line.pixel_hash
    }
    missing = len({line.id for line in wanted} - set(found))
    if not missing:
        return Pictures(found, None)
    images = "1 image is" if missing == 1 else f"{missing} images are"
    return Pictures(
        found, f"The pictures of {images} not shown: your data do not hold the pixels that were asked about"
    )


def shipped_task(record: Record) -> TaskSpec | None:
    """Return the task of a record where the package ships it in the same version and with the same classes."""
    from tasks import catalog

    if record.task.name not in catalog.shipped_names():
        return None
    task = catalog.load(record.task.name)
    same = task.version == record.task.version and tuple(c.name for c in task.classes) == record.task.classes
    return task if same else None


def _address(picture: Image.Image) -> str:
    """Return a picture as a data address: PNG, made smaller where a side is longer than `SIDE` pixels."""
    small = picture.copy()
    small.thumbnail((SIDE, SIDE))
    red, green, blue = small.split()
    if red.tobytes() == green.tobytes() == blue.tobytes():
        small = red
    stream = io.BytesIO()
    small.save(stream, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
