"""The smallest visible drop against simulated comparisons and the normal approximation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from leaderboard.compare.comparison import accuracy_test, compare_results
from leaderboard.compare.visible_change import mcnemar_power, smallest_visible_drop
from tests.leaderboard.compare.compared import result, told_apart
from tools.gate_simulation import ImageSet, draw


@pytest.mark.parametrize(
    ("images", "discordance", "drop"),
    [(150, 0.15, 0.05), (1000, 0.15, 0.04), (60, 0.4, 0.2), (80, 0.05, 0.05)],
)
def test_the_power_is_that_of_simulated_tests(images: int, discordance: float, drop: float) -> None:
    rng = np.random.default_rng(images)
    rounds = 20_000
    won = rng.multinomial(
        images, [(discordance - drop) / 2, (discordance + drop) / 2, 1 - discordance], size=rounds
    )
    shown = 2 * binom.cdf(won[:, 0], won[:, 0] + won[:, 1], 0.5) < 0.05
    found = mcnemar_power(images, discordance, drop)
    assert found == pytest.approx(np.mean(shown & (won[:, 0] < won[:, 1])), abs=4 * 0.5 / np.sqrt(rounds))


@pytest.mark.parametrize(("images", "discordance"), [(1000, 0.15), (4000, 0.3), (7000, 0.05)])
def test_with_many_images_it_is_what_the_normal_approximation_says(images: int, discordance: float) -> None:
    c = norm.ppf(0.975) + norm.ppf(0.8)
    by_formula = c * np.sqrt(discordance / (images + c * c))  # Connor 1987
    assert smallest_visible_drop(images, discordance) == pytest.approx(by_formula, rel=0.06)


def test_the_drop_that_is_asked_for_has_the_power() -> None:
    drop = smallest_visible_drop(200, 0.1)
    assert drop is not None
    assert mcnemar_power(200, 0.1, drop) == pytest.approx(0.8, abs=0.001)
    stricter = smallest_visible_drop(200, 0.1, level=0.0125)
    assert stricter is not None
    assert stricter > drop


def test_runs_that_agree_everywhere_may_still_differ_unseen() -> None:
    # Six images must differ, all to one side; that as many do in 80% of cases takes 7.9 expected ones.
    drop = smallest_visible_drop(100, 0.0)
    assert drop is not None
    assert binom.sf(5, 100, drop) == pytest.approx(0.8, abs=0.002)
    assert smallest_visible_drop(10_000, 0.0) == pytest.approx(7.91e-4, rel=0.02)


@pytest.mark.parametrize("images", [1, 5])
def test_nothing_shows_on_too_few_images(images: int) -> None:
    assert smallest_visible_drop(images, 0.2) is None
    assert (
        compare_results([(result([1] * images), result([1] * images))]).tasks[0].smallest_visible_drop is None
    )


def test_too_few_groups_show_nothing() -> None:
    baseline, candidate = told_apart(40, 10, 0)
    (task,) = compare_results([(result(baseline, per_group=8), result(candidate, per_group=8))]).tasks
    assert (task.groups, task.smallest_visible_drop, task.decision.verdict) == (5, None, "no evidence")


def test_more_tasks_ask_for_more() -> None:
    pairs = [tuple(result(side, task=name) for side in told_apart(200, 15, 15)) for name in ("a", "b", "c")]
    alone = compare_results(pairs[:1]).tasks[0].smallest_visible_drop
    among = compare_results(pairs).tasks[0].smallest_visible_drop
    assert alone == smallest_visible_drop(200, 0.15)
    assert among == smallest_visible_drop(200, 0.15, level=0.05 / 3)


@pytest.mark.slow
def test_in_groups_a_drop_of_that_size_is_seen_about_as_often_as_said() -> None:
    rng = np.random.default_rng(2)
    image_set = ImageSet(80, 4)
    said = []
    for _ in range(5):
        candidate, baseline, _ = draw(rng, image_set)
        sides = (result(side, per_group=4) for side in (baseline, candidate))
        said.append(compare_results([tuple(sides)]).tasks[0].smallest_visible_drop)
    drop = float(np.mean(said))
    rounds = 300
    tests = [accuracy_test(*draw(rng, image_set, drop)) for _ in range(rounds)]
    seen = np.mean([test.p < 0.05 and test.value < 0 for test in tests])
    assert 0.68 < seen < 0.9  # 80%, give or take its own error and that of 300 rounds
