"""Pairs of results to compare, and result folders of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from leaderboard.compare.measured import Measured
from leaderboard.record.checks import FloorPart, FloorsPart
from leaderboard.record.record import AnswersPart, dump_record
from leaderboard.record.samples import ProbeLine, SampleLine, dump_lines
from tests.harness.run.test_record import record_of
from tests.leaderboard.lines import ACCURACIES, CLASSES, PLACES, MadeUp, probe, sample
from tests.leaderboard.results import answered, record


def result(
    correct: Sequence[int] | np.ndarray,
    *,
    per_group: int = 1,
    probes: Sequence[ProbeLine] = (),
    **changes: Any,
) -> Measured:
    """Return a result that is right where told; see `changed`."""
    made = answered(np.asarray(correct), per_group)
    return changed(Measured(made.name, made.record, made.samples, tuple(probes)), **changes)


def changed(
    measured: Measured,
    *,
    model: str = "zoo/x",
    task: str = "small",
    version: int = 1,
    status: str = "complete",
    n_test: int | None = None,
    headline: str | None = None,
    reference: str | None = None,
) -> Measured:
    """Return a result under other names; `reference` says what its R is."""
    old = measured.record
    size = len(measured.test) if n_test is None else n_test
    update: dict[str, Any] = {
        "status": status,
        "model": old.model.model_copy(update={"name": model}),
        "task": old.task.model_copy(update={"name": task, "version": version, "n_test": size}),
    }
    if headline is not None:
        update["answers"] = AnswersPart.model_validate(record_of()["answers"] | {"headline_source": headline})
    if reference is not None:
        part = {"detail": reference, "accuracy": _half(size), "balanced_accuracy": _half(size)}
        floors = {name: FloorPart(name=name, **part) for name in ("reference", "pixels", "majority")}
        update["floors"] = FloorsPart(key="k", **floors)
    whole = type(old).model_validate(old.model_copy(update=update).model_dump())
    return Measured(model, whole, measured.samples, measured.probes)


def run(
    own: int,
    *,
    images: int = 800,
    per_group: int = 1,
    fit: int = 150,
    shared: int = 0,
    **accuracies: float,
) -> Measured:
    """Draw a run whose places have the given accuracies.

    Labels and hard images follow from `shared`, what this run makes of them from `own`: two runs of the same
    accuracies and another `own` are two runs between which nothing changed.
    """
    wanted = ACCURACIES | accuracies
    rng = np.random.default_rng((own, 7))
    common = np.random.default_rng(shared)
    samples: list[SampleLine] = []
    lines: list[ProbeLine] = []
    for split, count in (("train", fit), ("val", fit), ("test", images)):
        labels = common.integers(CLASSES, size=count)
        hardness = common.standard_normal(count // per_group + 1)[np.arange(count) // per_group]

        def predicted(accuracy: float, labels=labels, hardness=hardness, count=count) -> np.ndarray:
            noise = 0.9 * hardness + np.sqrt(1 - 0.81) * rng.standard_normal(count)
            other = (labels + rng.integers(1, CLASSES, size=count)) % CLASSES
            return np.where(noise < norm.ppf(accuracy), labels, other)

        scores = 4.0 * np.eye(CLASSES)[predicted(wanted["answers"])] + rng.normal(size=(count, CLASSES))
        samples += [
            sample(split, i, int(labels[i]), scores[i].tolist(), group=f"{split}{i // per_group}")
            for i in range(count)
        ]
        if split != "train":
            lines += [probe(name, split, predicted(wanted[name])) for name in PLACES]
    made = Measured("zoo/x", record(images), tuple(samples), tuple(lines))
    return changed(made, reference="two small networks")


def of_made_up(made: MadeUp, **changes: Any) -> Measured:
    """Return a made-up run as a result."""
    measured = Measured("zoo/x", record(len(made.test())), made.samples, made.lines)
    return changed(measured, **({"reference": "two small networks"} | changes))


def write(measured: Measured, folder: Path) -> Path:
    """Write a result as `harness eval` files it, and return its folder."""
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(dump_record(measured.record), encoding="utf-8")
    (folder / "samples.jsonl").write_text(dump_lines(measured.samples), encoding="utf-8")
    (folder / "probes.jsonl").write_text(dump_lines(measured.probes), encoding="utf-8")
    return folder


def told_apart(images: int, only_baseline: int, only_candidate: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what baseline and candidate are right on, both being right on all other images."""
    place = np.arange(images)
    candidate = place >= only_baseline
    baseline = (place < only_baseline) | (place >= only_baseline + only_candidate)
    return baseline.astype(int), candidate.astype(int)


def _half(n: int) -> dict[str, Any]:
    return {"value": 0.5, "low": 0.4, "high": 0.6, "n": n}
