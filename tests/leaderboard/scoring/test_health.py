"""The profile of a record against the formula of the paper, over the layers that feed the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from leaderboard.scoring.health import module_curve, score_health
from leaderboard.scoring.probes import by_site
from tests.leaderboard.lines import CLASSES, MadeUp, made_up

LATER = {"site": "vision.02", "layer": 2, "consumed": False}


@pytest.fixture(scope="module")
def run() -> MadeUp:
    """A run whose connector reads the second of three vision layers; the third, which feeds nothing, is worse."""
    made = made_up()
    spoiled = [
        line.model_copy(
            update={
                **LATER,
                "predictions": tuple((k + n % 2) % CLASSES for n, k in enumerate(line.predictions)),
            }
        )
        for line in made.lines
        if line.site == "vision.01"
    ]
    return MadeUp(made.samples, (*spoiled, *made.lines))  # not in the order of the layers either


def shares(run: MadeUp, sites: Sequence[str]) -> list[float]:
    labels = [line.label for line in run.test()]
    return [float(np.mean(run.predictions(site) == labels)) for site in sites]


def test_vision_ends_at_the_layer_that_the_connector_reads(run: MadeUp) -> None:
    first, last = shares(run, ("vision.00", "vision.01"))
    growth = math.log(last / math.sqrt(first * min(first, last)))
    score = last * (1 + growth) * math.exp(-0.2 * abs(last - first) / last)
    found = score_health(run.lines, run.test(), final=0.5)
    assert found is not None
    assert (found.vision.start, found.vision.end) == (pytest.approx(first), pytest.approx(last))
    assert found.vision.fhs == pytest.approx(score)


def test_a_curve_goes_by_depth_and_says_of_each_image_whether_it_is_right(run: MadeUp) -> None:
    labels = [line.label for line in run.test()]
    found = module_curve(by_site(run.lines), "linear", "vision", "mean", labels)
    assert found is not None
    right = [run.predictions(site) == labels for site in ("vision.00", "vision.01")]
    assert np.array_equal(found, np.array(right, dtype=float))


def test_without_a_layer_there_is_no_curve(run: MadeUp) -> None:
    labels = [line.label for line in run.test()]
    assert module_curve(by_site(run.lines), "paper", "vision", "mean", labels) is None
