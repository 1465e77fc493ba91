"""How often the whole decision is wrong where nothing changed, and right where something did."""

from __future__ import annotations

import numpy as np
import pytest

from leaderboard.compare.comparison import compare_results
from tests.leaderboard.compare.compared import changed, run
from tools.gate_simulation import (
    CHANGED,
    NO_CHANGE,
    ImageSet,
    Scenario,
    share_caught,
    share_of_alarms,
    share_of_stops,
    verdicts,
)


def test_a_short_run_cries_wolf_seldom() -> None:
    found = verdicts(Scenario("two tasks", (ImageSet(60), ImageSet(20, 3, 0.3))), 100)
    # At a rate of 6.5% more than 14 of 100 are seen in one run of four hundred.
    assert share_of_alarms(found) <= 0.14


def test_a_short_run_sees_five_points() -> None:
    # At a rate of 90% fewer than 164 of 200 are seen in one run of two thousand.
    assert share_caught(verdicts(CHANGED[0], 200)) >= 0.82


@pytest.mark.slow
@pytest.mark.parametrize("scenario", NO_CHANGE, ids=lambda scenario: scenario.name)
def test_without_a_change_it_cries_wolf_in_at_most_65_of_1000_draws(scenario: Scenario) -> None:
    found = verdicts(scenario, 1000)
    assert share_of_alarms(found) <= 0.065
    assert share_of_stops(found) <= 0.04  # one of the two directions


@pytest.mark.slow
@pytest.mark.parametrize("scenario", CHANGED, ids=lambda scenario: scenario.name)
def test_a_drop_of_five_points_is_caught_in_nine_of_ten_draws(scenario: Scenario) -> None:
    assert share_caught(verdicts(scenario, 1000)) >= 0.9


@pytest.mark.slow
def test_whole_results_between_which_nothing_changed_seldom_seem_to_differ() -> None:
    """Everything that is told, health and drops included, over two tasks."""
    rounds = 100
    decided, told = 0, 0
    for number in range(rounds):
        pairs = []
        for task, (images, per_group) in {"a": (150, 1), "b": (160, 4)}.items():
            sides = [
                changed(
                    run(2 * number + side, images=images, per_group=per_group, fit=60, shared=number),
                    task=task,
                )
                for side in (0, 1)
            ]
            pairs.append((sides[0], sides[1]))
        found = compare_results(pairs, seed=number)
        decided += found.verdict != "no evidence"
        told += any(change.p_adjusted < 0.05 for task in found.tasks for change in task.secondary)
    # At a rate of 6.5% more than 14 of 100 are seen in one run of four hundred.
    assert np.array([decided, told]).max() <= 14
