"""Paired comparisons against SciPy's binomial test, plain loops, results worked by hand and simulations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from leaderboard.compare.contrasts import (
    BOOTSTRAP,
    FINE_TUNING,
    LAYER,
    MCNEMAR,
    MEDICAL,
    PROBE,
    Contrast,
    answer_contrast,
    concluded,
    layer_contrast,
    paired_difference,
    probe_contrast,
)
from tests.leaderboard.results import answered, first_right, layer, probed


def with_p(contrast: Contrast, family: str, p: float) -> Contrast:
    return replace(contrast, family=family, p=p, p_adjusted=0.5, conclusion="lower")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 9), st.integers(1, 9))
def test_answers_of_independent_images_are_compared_by_the_exact_test(
    only_first: int, only_second: int, both: int, neither: int
) -> None:
    counts = (only_first, only_second, both, neither)
    first, second = np.repeat([1, 0, 1, 0], counts), np.repeat([0, 1, 1, 0], counts)
    found = answer_contrast(MEDICAL, answered(first), answered(second, name="zoo/y"))
    told_apart = only_first + only_second
    truth = binomtest(only_first, told_apart).pvalue if told_apart else 1.0
    assert found.p == pytest.approx(truth)
    assert found.p_adjusted == found.p
    assert (found.test, found.n) == (MCNEMAR, sum(counts))
    assert found.value == pytest.approx((only_first - only_second) / sum(counts))
    assert found.value == pytest.approx(found.first_value.value - found.second_value.value)
    assert found.low <= found.value <= found.high
    assert (found.first, found.second, found.model) == ("zoo/x", "zoo/y", "zoo/x")
    truly = "undetermined" if truth >= 0.05 else "higher" if only_first > only_second else "lower"
    assert found.conclusion == truly


def test_grouped_images_are_compared_as_a_plain_loop_over_groups_does() -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 5, size=60)
    groups = np.repeat(np.arange(60), sizes)
    first = (rng.random(len(groups)) < 0.8).astype(float)
    second = (rng.random(len(groups)) < (0.5 + 0.4 * rng.random(60))[groups]).astype(float)
    found = paired_difference(first, second, [f"p{g}" for g in groups])
    drawn = []
    for _ in range(8000):
        images = np.concatenate([np.flatnonzero(groups == g) for g in rng.integers(60, size=60)])
        drawn.append(first[images].mean() - second[images].mean())
    draws = np.array(drawn)
    p = 2 * min(np.mean(draws <= 0), np.mean(draws >= 0))
    assert found.test == BOOTSTRAP
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert 0.01 < p < 0.3  # else the next line says little
    assert found.p == pytest.approx(p, abs=0.02)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.006)


def test_groups_that_err_together_leave_more_doubt_than_as_many_images() -> None:
    first, second = np.repeat([1, 0, 1], [16, 4, 40]), np.repeat([0, 1, 1], [16, 4, 40])
    alone = answer_contrast(MEDICAL, answered(first), answered(second))
    together = answer_contrast(MEDICAL, answered(first, 4), answered(second, 4))
    assert (alone.test, together.test) == (MCNEMAR, BOOTSTRAP)
    assert alone.conclusion == "higher"
    assert together.conclusion == "undetermined"
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_equal_sides_are_seldom_told_apart() -> None:
    groups, per_group = 40, 3
    rng = np.random.default_rng(40)
    names = [str(i // per_group) for i in range(groups * per_group)]
    rejected = 0
    rounds = 800
    for _ in range(rounds):
        shared = rng.normal(size=(2, groups)).repeat(per_group, axis=1)
        first, second = (shared + rng.normal(size=(2, len(names))) > -0.5).astype(float)
        rejected += paired_difference(first, second, names).p < 0.05
    # At a rate of 6.5% more than this are seen in one run of a thousand.
    assert rejected / rounds <= 0.065 + 3.1 * np.sqrt(0.065 * 0.935 / rounds)
    assert rejected > 0


@pytest.mark.parametrize("per_group", [1, 4])
def test_a_planted_difference_is_found(per_group: int) -> None:
    better = answered(first_right(310, of=400), per_group)
    worse = answered(first_right(270, of=400), per_group, "zoo/y")
    up, down = concluded([answer_contrast(MEDICAL, better, worse), answer_contrast(MEDICAL, worse, better)])
    assert (up.conclusion, down.conclusion) == ("higher", "lower")
    assert up.value == pytest.approx(0.1)
    assert 0 < up.low < 0.1 < up.high < 0.2
    assert (down.low, down.high) == pytest.approx((-up.high, -up.low))
    assert up.first_value.value == pytest.approx(310 / 400)
    assert up.first_value.low < 310 / 400 < up.first_value.high


@pytest.mark.parametrize(("per_group", "groups"), [(1, 60), (3, 20)])
def test_sides_that_no_image_tells_apart_get_the_rule_of_three(per_group: int, groups: int) -> None:
    one = answered(first_right(40, of=60), per_group)
    found = answer_contrast(FINE_TUNING, one, one)
    assert (found.value, found.p, found.conclusion) == (0, 1, "undetermined")
    assert (found.low, found.high) == pytest.approx((-3 / groups, 3 / groups))
    # The rule is near the exact bound on what was seen in none of so many.
    assert found.high == pytest.approx(binomtest(0, groups).proportion_ci(0.9).high, abs=0.02)


@pytest.mark.parametrize("groups", [1, 3, 5])
def test_few_groups_that_agree_prove_nothing(groups: int) -> None:
    found = paired_difference(
        np.ones(4 * groups), np.zeros(4 * groups), np.repeat(np.arange(groups), 4).astype(str).tolist()
    )
    assert found.p == pytest.approx(binomtest(groups, groups).pvalue)
    assert found.low == pytest.approx(max(-1, 1 - 3 / groups))
    assert found.high == 1


def test_holm_goes_over_each_family_apart() -> None:
    up = answer_contrast(MEDICAL, answered(first_right(30, of=40)), answered(first_right(20, of=40)))
    down = answer_contrast(MEDICAL, answered(first_right(20, of=40)), answered(first_right(30, of=40)))
    given = [
        with_p(up, MEDICAL, 0.03),
        with_p(down, FINE_TUNING, 0.03),
        with_p(up, MEDICAL, 0.01),
        with_p(down, MEDICAL, 0.004),
        with_p(up, FINE_TUNING, 0.6),
        with_p(up, MEDICAL, 0.02),
        with_p(down, PROBE, 0.03),
    ]
    found = concluded(given)
    # By hand: 0.004 x 4, 0.01 x 3, 0.02 x 2, and 0.03 kept as large as the one before.
    assert [c.p_adjusted for c in found] == pytest.approx([0.04, 0.06, 0.03, 0.016, 0.6, 0.04, 0.03])
    assert [c.conclusion for c in found] == [
        *("higher", "undetermined", "higher", "lower", "undetermined", "higher", "lower")
    ]
    assert [replace(c, p_adjusted=0.5, conclusion="lower") for c in found] == given
    assert concluded(found) == found
    assert concluded([]) == ()


def test_the_best_layer_is_chosen_on_validation() -> None:
    answers = answered(first_right(50, of=100))
    lines = [
        *probed("early", 30, first_right(70, of=100), **layer(0)),
        *probed("early", 35, first_right(60, of=100), **layer(1)),  # the best on validation
        *probed("early", 35, first_right(80, of=100), **layer(2)),  # as good there, but later
        *probed("early", 20, first_right(95, of=100), **layer(3)),  # the best on test
        *probed("early", 20, first_right(40, of=100), **layer(4, consumed=True)),
        *probed("early", 40, first_right(40, of=100), **layer(4, consumed=True, pool="regrouped")),
        *probed("early", 40, first_right(99, of=100), **layer(0, readout="paper")),
        *probed("connector", 40, first_right(99, of=100)),
    ]
    found = layer_contrast(replace(answers, name="zoo/x@lora", probes=tuple(reversed(lines))))
    assert found is not None
    assert (found.first, found.second) == ("vision.01", "vision.04")
    assert (found.family, found.model, found.task) == (LAYER, "zoo/x@lora", "small")
    assert (found.first_value.value, found.second_value.value) == pytest.approx((0.6, 0.4))
    assert found.p == pytest.approx(binomtest(20, 20).pvalue)
    assert found.conclusion == "higher"


def test_a_consumed_layer_that_is_best_differs_from_itself_by_nothing() -> None:
    lines = [
        *probed("early", 30, first_right(70, of=100), **layer(0)),
        *probed("early", 35, first_right(60, of=100), **layer(1, consumed=True)),
    ]
    found = layer_contrast(replace(answered(first_right(50, of=100)), probes=tuple(lines)))
    assert found is not None
    assert (found.first, found.second) == ("vision.01", "vision.01")
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.conclusion == "undetermined"


def test_layers_are_not_compared_where_something_is_missing() -> None:
    answers = answered(first_right(50, of=100))
    whole = probed("early", 30, first_right(70, of=100), **layer(0, consumed=True))
    unread = probed("early", 30, first_right(70, of=100), **layer(0))
    tested = [line for line in whole if line.split == "test"]
    decoder = probed("last_token", 30, first_right(70, of=100))
    for lines in ((), unread, tested, decoder):
        assert layer_contrast(replace(answers, probes=tuple(lines))) is None
    there = replace(answers, probes=tuple(whole))
    assert layer_contrast(there) is not None
    assert layer_contrast(there, "paper") is None
    assert probe_contrast(there) is None


def test_the_last_probe_is_compared_with_the_answers() -> None:
    answers = answered(first_right(50, of=100))
    lines = [
        *probed("last_token", 30, first_right(75, of=100)),
        *probed("last_token", 30, first_right(99, of=100), site="llm.01", layer=1),
        *probed("image_mean", 30, first_right(99, of=100), site="llm.03", layer=3),
        *probed("last_token", 30, first_right(99, of=100), readout="answer_target"),
    ]
    found = probe_contrast(replace(answers, probes=tuple(lines)))
    assert found is not None
    assert (found.first, found.second, found.family) == ("llm.02", "answer", PROBE)
    assert (found.first_value.value, found.second_value.value) == pytest.approx((0.75, 0.5))
    assert found.p == pytest.approx(binomtest(25, 25).pvalue)


def test_seeds_of_a_probe_are_averaged_image_by_image() -> None:
    right = [first_right(count, of=90) for count in (45, 50, 64)]
    lines = [line for seed, each in enumerate(right) for line in probed("last_token", 30, each, seed=seed)]
    found = probe_contrast(replace(answered(first_right(53, of=90)), probes=tuple(lines)))
    assert found is not None
    assert found.test == BOOTSTRAP
    assert found.first_value.value == pytest.approx(np.mean(right))
    assert found.value == pytest.approx(0)
    assert found.p == pytest.approx(1, abs=0.2)


def test_the_same_seed_gives_the_same_contrast() -> None:
    one, other = answered(first_right(50, of=90), 3), answered(first_right(40, of=90), 3)
    found = [answer_contrast(MEDICAL, one, other, seed=seed) for seed in (1, 1, 2)]
    assert found[0] == found[1]
    assert found[0] != found[2]
