"""What is kept of a run: enough to judge it again under any rule, without the model."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLAIN = ("record.json",)
PACKED = ("samples.jsonl", "probes.jsonl")


def keep(run: Path, folder: Path) -> None:
    """Copy the files of a finished run's folder that a verdict follows from; whole or not at all."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in PLAIN:
        shutil.copyfile(run / name, partial / name)
    for name in PACKED:
        # Without a time stamp, so that equal runs keep equal bytes.
        packed = gzip.compress((run / name).read_bytes(), compresslevel=6, mtime=0)
        (partial / f"{name}.gz").write_bytes(packed)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def is_kept(folder: Path) -> bool:
    """Tell whether a run was kept here."""
    return (folder / "record.json").is_file()


@contextmanager
def unpacked(folder: Path) -> Iterator[Path]:
    """Give a result folder with the kept files as `harness eval` wrote them."""
    with tempfile.TemporaryDirectory() as made:
        target = Path(made)
        for name in PLAIN:
            shutil.copyfile(folder / name, target / name)
        for name in PACKED:
            with gzip.open(folder / f"{name}.gz", "rb") as source, (target / name).open("wb") as file:
                shutil.copyfileobj(source, file)
        yield target
