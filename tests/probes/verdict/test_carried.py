"""Verdicts on what loci carry: lifted drops, their test by hand, and every way in which a locus is spared."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import balanced_accuracy_score

from probes.stats.metrics import holm
from probes.verdict.bottleneck import ISOTONIC
from probes.verdict.carried import (
    CarriedEvidence,
    balanced_predictions,
    carried_waterfall,
    judge_carried,
)
from probes.verdict.diagnosis import SignalTests, diagnose
from probes.verdict.waterfall import waterfall
from tests.probes.planted import CLASSES, planted

DRAWS = {"draws": 500, "flips": 1000}


def lifted(predictions, evidence=None, **settings):
    return carried_waterfall(predictions, evidence, **(DRAWS | settings))


def verdict(predictions, evidence=None, **settings):
    reference = None if predictions.reference is None else "R"
    return judge_carried(lifted(predictions, evidence, **settings), reference=reference)


def level(labels, predicted):
    """A from scikit-learn's balanced accuracy."""
    known = np.where(predicted < 0, (labels + 1) % CLASSES, predicted)  # no prediction is a wrong one
    return (balanced_accuracy_score(labels, known) - 1 / CLASSES) / (1 - 1 / CLASSES)


def test_each_level_is_raised_to_the_best_behind_it_and_drops_add_up():
    drawn = planted(
        np.random.default_rng(0),
        400,
        reference=0.6,
        vision=0.8,
        connector=0.4,
        image_mean=0.7,
        last_token=0.5,
    )
    found = lifted(drawn)
    own = found.carried
    best = max(own["vision"], own["image_mean"], own["answers"], own["logistic"])
    assert own["vision"] == pytest.approx(level(drawn.labels, drawn.vision))
    assert found.waterfall.level["vision"] == best
    assert found.waterfall.level["connector"] == max(own["image_mean"], own["logistic"], own["answers"])
    assert found.waterfall.level["last_token"] == max(own["last_token"], own["logistic"], own["answers"])
    drops = [drop.gap.value for drop in found.waterfall.drops]
    assert min(drops) >= 0
    levels = found.waterfall.level
    first = levels["vision"] if found.reference_below else levels["reference"]
    assert sum(drops) == pytest.approx(first - levels["answers"])


def test_p_of_a_lifted_drop_is_the_largest_over_what_lies_behind_of_the_largest_over_what_lies_before():
    """Eight groups, every flip by hand, the sides' labels swapped as one."""
    drawn = planted(np.random.default_rng(3), 80, per_group=10, connector=0.9, answers=0.5, logistic=0.5)
    made = drawn.by_locus()
    groups = drawn.groups
    sizes = np.array([np.sum(drawn.labels == k) for k in range(CLASSES)])
    share = 1 / (np.sum(sizes > 0) * sizes[drawn.labels])
    sums = {name: np.bincount(groups, share * (rows == drawn.labels)) for name, rows in made.items()}

    def p(starts, ends):
        worst = 0.0
        for end in ends:
            gaps = np.stack([sums[start] - sums[end] for start in starts])
            flipped = np.array([max(gaps @ signs) for signs in product([1, -1], repeat=8)])
            worst = max(worst, np.mean(flipped >= gaps.sum(axis=1).max() - 1e-12))
        return worst

    path = ["reference", "vision", "connector", "image_mean", "last_token", "logistic", "answers"]
    expected = [p(path[:1], path[1:]), p(path[1:2], path[2:]), p(path[2:5], path[5:]), p(path[5:6], path[6:])]
    found = lifted(drawn).waterfall.drops
    assert [drop.gap.p for drop in found] == pytest.approx(expected)
    assert [drop.p_adjusted for drop in found] == pytest.approx(holm(expected))


@pytest.mark.parametrize("stage", ["vision", "connector", "comprehension", "mapping"])
def test_a_loss_is_named_where_it_is(stage):
    lost = {
        "vision": ("vision", "connector", "image_mean", "last_token", "logistic", "answers"),
        "connector": ("connector", "image_mean", "last_token", "logistic", "answers"),
        "comprehension": ("last_token", "logistic", "answers"),
        "mapping": ("answers",),
    }[stage]
    found = verdict(planted(np.random.default_rng(1), 1500, **dict.fromkeys(lost, 0.6)))
    assert found.verdict == stage
    assert found.stages == (stage,)


def test_nothing_lost_is_healthy_without_a_stage():
    found = verdict(planted(np.random.default_rng(2), 1500))
    assert found.verdict == "healthy"
    assert found.stages == ()


def test_a_place_that_is_hard_to_read_is_not_blamed_and_is_a_finding_of_its_own():
    drawn = planted(np.random.default_rng(4), 800)
    hard = planted(np.random.default_rng(4), 800, connector=0.55).connector
    found = lifted(drawn, CarriedEvidence(read={"connector": hard}))
    assert set(found.hard_to_read) == {"connector"}
    gap = found.hard_to_read["connector"]
    assert gap.value == pytest.approx(level(drawn.labels, drawn.connector) - level(drawn.labels, hard))
    assert found.read["connector"] == pytest.approx(level(drawn.labels, hard))
    assert judge_carried(found, reference="R").verdict == "healthy"
    # Even where nothing carried it past, later loci show what it held: today's rule blames.
    read = replace(drawn, connector=hard)
    assert verdict(read).stages == ()
    assert "connector" in diagnose(waterfall(read, draws=500), reference="R").stages


@pytest.mark.parametrize("reference", [0.65, 0.5, 0.35])
def test_a_weak_reference_hides_no_loss_and_vision_is_not_assessed(reference):
    behind = dict.fromkeys(("connector", "image_mean", "last_token", "logistic", "answers"), 0.7)
    drawn = planted(np.random.default_rng(5), 1500, reference=reference, vision=0.87, **behind)
    found = lifted(drawn)
    assert found.reference_below is not None
    assert found.reference_below.value > 0.1
    made = judge_carried(found, reference="R")
    assert made.verdict == "connector"
    assert not made.vision_assessed
    assert made.reference is None
    healthy = verdict(planted(np.random.default_rng(6), 1500, reference=reference))
    assert healthy.verdict == "undetermined"
    assert "reference is too weak" in healthy.reason
    if reference == 0.35:
        assert diagnose(waterfall(drawn, draws=500), reference="R", rule=ISOTONIC).verdict != "connector"


def test_below_six_groups_nothing_is_significant_and_the_verdict_says_why():
    drawn = planted(np.random.default_rng(7), 200, per_group=40, connector=0.4, answers=0.3, logistic=0.3)
    found = lifted(drawn)
    assert not found.testable
    assert found.waterfall.stages == ()
    made = judge_carried(found, reference="R")
    assert made.verdict == "undetermined"
    assert made.reason == "with 5 groups nothing can be tested"
    silent = judge_carried(found, reference="R", signal=SignalTests(reference=0.5, vision=0.4))
    assert silent.verdict == "no_signal"


def test_a_connector_without_token_pairs_whose_reading_still_rises_is_not_shown_to_lose():
    behind = dict.fromkeys(("image_mean", "last_token", "logistic", "answers"), 0.5)
    draw = planted(np.random.default_rng(8), 600, connector=0.6, **behind)
    smaller = np.stack(
        [np.where(np.arange(600) % part == 0, -1, draw.connector) for part in (3, 6)]
    )  # a quarter of the images reads less, half of them nearly as much
    by_images = CarriedEvidence(smaller={"connector": smaller}, pairing={"connector": "image"})
    found = lifted(draw, by_images)
    assert found.sample_limited == ("connector",)
    made = judge_carried(found, reference="R")
    assert made.verdict == "undetermined"
    assert "not shown to arrive" in made.reason
    assert "connector" not in made.stages
    by_tokens = replace(by_images, pairing={"connector": "tokens"})
    assert judge_carried(lifted(draw, by_tokens), reference="R").verdict == "connector"
    flat = replace(by_images, smaller={"connector": np.stack([draw.connector] * 2)})
    assert lifted(draw, flat).sample_limited == ()


def test_refits_that_disagree_widen_intervals_and_take_significance_away():
    drawn = planted(
        np.random.default_rng(9),
        600,
        connector=0.78,
        image_mean=0.78,
        last_token=0.78,
        logistic=0.78,
        answers=0.78,
    )
    fixed = lifted(drawn).waterfall.drops[1]
    assert fixed.significant
    rng = np.random.default_rng(10)
    refits = np.stack(
        [np.where(rng.random(600) < share, -1, drawn.vision) for share in (0, 0.1, 0.2, 0, 0.15)]
    )
    found = lifted(drawn, CarriedEvidence(refits={"vision": refits}))
    shaken = found.waterfall.drops[1]
    assert not shaken.significant
    assert shaken.gap.high > fixed.gap.high
    assert shaken.visible_gap > fixed.visible_gap
    values = [level(drawn.labels, rows) for rows in refits]
    jackknife = np.sqrt(4 / 5 * np.sum((np.array(values) - np.mean(values)) ** 2))
    assert found.fit_spread["vision"] == pytest.approx(jackknife)


def test_stages_are_rarely_false_with_few_groups():
    false = [
        bool(
            lifted(
                planted(np.random.default_rng([11, seed]), 120, per_group=15), seed=seed, draws=50
            ).waterfall.stages
        )
        for seed in range(120)
    ]
    assert np.mean(false) <= 0.05


def test_balanced_predictions_are_bayes_rule_for_equal_classes():
    rng = np.random.default_rng(12)
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    scores = log_softmax(rng.standard_normal((2, 50, 3)), axis=-1)
    likelihood = np.exp(scores) / np.array([0.6, 0.3, 0.1])
    np.testing.assert_array_equal(balanced_predictions(scores, labels), likelihood.argmax(axis=-1))
    logits = scores + rng.standard_normal((2, 50, 1))
    np.testing.assert_array_equal(balanced_predictions(logits, labels), balanced_predictions(scores, labels))
    absent = balanced_predictions(scores, np.repeat([0, 1], 20))
    assert absent.max() == 1
