"""Results that are right where a test wants it."""

from __future__ import annotations

import numpy as np

from leaderboard.compare.measured import Measured
from leaderboard.record.record import Record
from leaderboard.record.samples import ProbeLine, SampleLine
from tests.leaderboard.lines import CLASSES, probe, sample

VAL = 40


def record(n_test: int, **changes: object) -> Record:
    nothing = dict.fromkeys(("answers", "health", "diagnosis"))
    content = {
        "status": "complete",
        "model": {
            "name": "zoo/x",
            "hub_id": None,
            "revision": "1",
            "architecture": "X",
            "parameters": 1,
            "engine": "transformers",
            "dtype": "float32",
        },
        "task": {
            "name": "small",
            "version": 1,
            "classes": ("a", "b", "c", "d"),
            "dataset_fingerprint": "0",
            "official_data": False,
            "n_train": 0,
            "n_val": VAL,
            "n_test": n_test,
            "grouped_by": "image",
            "dropped_train": 0,
            "dropped_val": 0,
            "val_cut_from_train": 0,
        },
        "condition": "released",
        "probes": (),
        "configuration": {},
        **nothing,
        "cost": {"seconds": {}, "images_per_second": None, "peak_memory_bytes": None, "device": "cpu"},
        "provenance": {
            "harness_version": "0",
            "git": None,
            "python": "3",
            "packages": {},
            "command": "",
            "seed": 0,
            "started": "",
            "finished": "",
        },
        **changes,
    }
    return Record.model_validate(content)


def labels(split: str, count: int) -> np.ndarray:
    return np.random.default_rng(len(split)).integers(CLASSES, size=count)


def answered(correct: np.ndarray, per_group: int = 1, name: str = "zoo/x") -> Measured:
    """Return a result whose answers are right where told, with validation images before those of test."""

    def lines(split: str, right: np.ndarray) -> list[SampleLine]:
        said = labels(split, len(right)) + ~right.astype(bool)
        return [
            sample(split, i, int(k), np.eye(CLASSES)[said[i] % CLASSES].tolist(), group=f"{i // per_group}")
            for i, k in enumerate(labels(split, len(right)))
        ]

    samples = (*lines("val", np.ones(VAL)), *lines("test", correct))
    return Measured(name, record(len(correct)), samples, ())


def probed(place: str, val: int, test: np.ndarray, **changes: object) -> list[ProbeLine]:
    """Return a place's lines, right on the first `val` validation images and where told on test."""
    right = {"val": np.arange(VAL) < val, "test": test.astype(bool)}
    return [
        probe(place, split, (labels(split, len(found)) + ~found) % CLASSES, **changes)
        for split, found in right.items()
    ]


def first_right(count: int, of: int) -> np.ndarray:
    return np.arange(of) < count


def layer(number: int, **changes: object) -> dict[str, object]:
    return {"site": f"vision.{number:02d}", "layer": number, "consumed": False, **changes}
