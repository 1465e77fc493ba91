"""Simulate worlds in which what was lost is known, and count what a verdict says of them.

    python tools/worlds/run.py --worlds features --draws 5 --output worlds.jsonl
    python tools/worlds/run.py --worlds reference,level --draws 200 --output worlds.jsonl

`features`: encoders and connectors of real width (minutes a draw), read and judged; `reference`: a connector
loss beside references of every quality; `level`: how often nothing is found something, and how often
intervals cover, with few groups. What is done is kept in the output file, a line each; killed, the same
command goes on. `--worlds ''` prints the tables of what is there; judging is done anew each time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT))  # the files import each other as tools.worlds


def main(arguments: list[str] | None = None) -> int:
    """Simulate what is missing, then print the tables."""
    chosen = _arguments(arguments)
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # before the libraries are loaded
    from tools.worlds.predicted import LEVELS, REFERENCES, level_draw, reference_draw
    from tools.worlds.table import tables

    worlds = [name for name in chosen.worlds.split(",") if name]
    unknown = set(worlds) - {"features", "reference", "level"}
    if unknown:
        print(
            f"--worlds: no '{sorted(unknown)[0]}'; there are features, reference and level", file=sys.stderr
        )
        return 2
    kept = _Kept(chosen.output)
    until = time.monotonic() + 60 * chosen.budget if chosen.budget else float("inf")
    if "features" in worlds:
        _features(kept, chosen, until)
    for name, conditions, draw in (
        ("reference", REFERENCES, reference_draw),
        ("level", LEVELS, level_draw),
    ):
        if name in worlds:
            for number in range(chosen.first, chosen.first + chosen.draws):
                for condition in conditions:
                    if time.monotonic() < until:
                        kept.add(
                            f"{name}/{condition.name}/{number}", lambda c=condition, n=number, d=draw: d(c, n)
                        )
    print(tables(kept.rows))
    return 0


def _features(kept: _Kept, chosen: Any, until: float) -> None:
    from tools.worlds.geometry import MAPS
    from tools.worlds.table import SIZES

    maps = [name for name in MAPS if chosen.maps in ("*", name)]
    for number in range(chosen.first, chosen.first + chosen.draws):
        for train in map(int, chosen.train.split(",")):
            for name in maps:
                for lossy in (False, True):
                    key = f"features/{train}/{name}/{'lossy' if lossy else 'whole'}/{number}"
                    if time.monotonic() < until:
                        sizes = SIZES[train]
                        kept.add(key, lambda n=name, b=lossy, s=sizes, d=number: _feature_world(n, b, s, d))


def _feature_world(name: str, lossy: bool, sizes: dict[str, int], draw: int) -> dict[str, Any]:
    from tools.worlds.geometry import draw_splits
    from tools.worlds.judging import pack
    from tools.worlds.reading import Locus, read_world

    begun = time.monotonic()

    def packed(locus: Locus) -> dict[str, Any]:
        fields = ("carried", "read", "refits", "smaller")
        return {field: pack(getattr(locus, field)) for field in fields} | {"kind": locus.kind}

    vision, connector = read_world(draw_splits(name, lossy, sizes, draw), name, draw)
    seconds = round(time.monotonic() - begun, 1)
    return {"draw": draw, "vision": packed(vision), "connector": packed(connector), "seconds": seconds}


class _Kept:
    """What is done, in a file that only grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        text = path.read_text() if path.exists() else ""
        self._torn = bool(text) and not text.endswith("\n")
        lines = text.splitlines()
        self.rows: dict[str, Any] = {}
        for line in lines:
            try:
                self.rows.update(json.loads(line))
            except json.JSONDecodeError:
                print(f"{path}: a line that a killed run left is done again", file=sys.stderr)

    def add(self, key: str, make: Any) -> None:
        if key in self.rows:
            return
        self.rows[key] = make()
        with self._path.open("a") as file:
            file.write(("\n" if self._torn else "") + json.dumps({key: self.rows[key]}) + "\n")
        self._torn = False
        if key.startswith("features"):
            print(key, self.rows[key]["seconds"], "s", file=sys.stderr, flush=True)


def _arguments(given: list[str] | None) -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", default="features,reference,level")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="number of the first draw, its seed")
    parser.add_argument("--train", default="546,2000", help="training images of the feature worlds")
    parser.add_argument("--maps", default="*", help="one map of the feature worlds alone")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="begin nothing after this time")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
