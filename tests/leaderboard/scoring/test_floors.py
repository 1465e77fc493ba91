"""Floors scored from lines, against scikit-learn; no other score sees their lines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from leaderboard.record.checks import FloorsPart
from leaderboard.scoring.floors import DeclaredFloors, score_floors
from leaderboard.scoring.health import score_health
from leaderboard.scoring.probes import score_probes
from tests.leaderboard.lines import CLASSES, MadeUp, made_up, probe

SIZES = {"train": 40, "val": 30, "test": 90}
NAMES = ("reference", "pixels", "majority")


def with_majority(seed: int) -> MadeUp:
    run = made_up(seed, sizes=SIZES)
    extra = [
        probe("pixels", split, np.zeros(SIZES[split], dtype=int), site="majority")
        for split in ("val", "test")
    ]
    return MadeUp(run.samples, (*run.lines, *extra))


def scored(run: MadeUp, **changes: object) -> FloorsPart:
    declared = DeclaredFloors(
        "k",
        {name: f"what {name} is" for name in NAMES},
        {"reference": 0.001, "pixels": 0.2, "majority": None},
    )
    return score_floors(run.lines, run.test(), replace(declared, **changes))  # type: ignore[arg-type]


def test_floors_follow_from_their_lines() -> None:
    run = with_majority(0)
    found = scored(run)
    labels = np.array([line.label for line in run.test()])
    for name in NAMES:
        part = getattr(found, name)
        predicted = run.predictions(name)
        assert part.accuracy.value == pytest.approx(np.mean(predicted == labels))
        assert part.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(labels, predicted))
        assert part.balanced_accuracy.low <= part.balanced_accuracy.value <= part.balanced_accuracy.high
        assert part.detail == f"what {name} is"
    assert found.majority.balanced_accuracy.value == pytest.approx(1 / CLASSES)
    assert (found.reference.permutation_p, found.majority.permutation_p) == (0.001, None)


def test_the_blank_answer_is_right_on_its_own_class() -> None:
    run = with_majority(1)
    blank = scored(run, blank=(-2.0, -0.5, -9.0, -4.0)).blank
    assert blank is not None
    assert blank.predicted == 1
    assert sum(blank.probabilities) == pytest.approx(1)
    assert blank.probabilities[0] / blank.probabilities[1] == pytest.approx(np.exp(-1.5))
    assert blank.accuracy.value == pytest.approx(np.mean([line.label == 1 for line in run.test()]))
    assert scored(run).blank is None


def test_no_other_score_sees_the_floors() -> None:
    run = with_majority(2)
    layers = tuple(line for line in run.lines if line.module != "image")
    assert len(layers) < len(run.lines)
    assert score_probes(run.lines, run.test(), {}) == score_probes(layers, run.test(), {})
    assert {part.module for part in score_probes(run.lines, run.test(), {})} == {"vision", "connector", "llm"}
    assert score_health(run.lines, run.test(), final=0.5) == score_health(layers, run.test(), final=0.5)
