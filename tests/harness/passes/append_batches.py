"""A program for tests to kill: appends batches of answers and features, and says which it has stored."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from harness.passes.store import PREFILL, RunStore, StoreError
from probes.sites import Site

SITES = (Site("vision", 0, "mean", 64), Site("connector", 0, "mean", 96), Site("llm", 0, "last", 64))
CONFIGURATION = {"model": "m", "task": {"name": "t"}}


def answers(rows: slice) -> list[dict[str, object]]:
    """What the model of this test says about images."""
    return [
        {"text": f"réponse {image} " + "x" * 200, "scores": [image, -image]}
        for image in range(rows.start, rows.stop)
    ]


def features(site: Site, rows: slice) -> np.ndarray:
    """What its layers show, shape (rows, width)."""
    images = np.arange(rows.start, rows.stop, dtype=np.float32)
    return images[:, None] * 1000 + np.arange(site.width, dtype=np.float32) + site.layer


def say(line: str) -> None:
    """Print a line in one write, so that a kill leaves all of it or nothing, however Python buffers."""
    os.write(1, f"{line}\n".encode())


def main(folder: Path, images: int, watched: bool) -> None:
    """Append what is pending; print `begin N` before and `stored N` after each batch."""
    with RunStore(folder, CONFIGURATION) as store:
        if watched:
            store.open_features(SITES, images)
        for number, rows in store.pending(PREFILL, images):
            say(f"begin {number}")
            seen = {site.key: features(site, rows) for site in SITES} if watched else None
            store.append(PREFILL, number, answers(rows), seen)
            say(f"stored {number}")
        say("done")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]), watched="--unwatched" not in sys.argv)
    except StoreError as error:
        sys.exit(str(error))
