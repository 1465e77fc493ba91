"""The four terms of the loss between image and answer: exact sums, honest p-values, known power."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from probes.verdict.mapping import MappedAnswers
from probes.verdict.waterfall import LocusPredictions, smallest_visible_gap, waterfall
from tests.probes.planted import CLASSES, planted

predictions_of_six_images = st.lists(st.integers(-1, 2), min_size=6, max_size=6).map(np.array)


@settings(max_examples=40, deadline=None)
@given(loci=st.lists(predictions_of_six_images, min_size=9, max_size=9), labels=predictions_of_six_images)
def test_the_terms_add_up_to_the_whole_loss(loci, labels):
    answers = MappedAnswers(*loci[:4])
    made = LocusPredictions(
        labels=np.abs(labels),
        groups=np.array([0, 0, 1, 2, 3, 3]),
        classes=3,
        vision=loci[4],
        connector=loci[5],
        last_token=loci[6],
        answers=answers,
        reference=loci[7],
        image_mean=loci[8],
    )
    found = waterfall(made, draws=20)
    drops = {drop.mode: drop.gap for drop in found.drops}
    whole = found.level["reference"] - found.level["answers"]
    assert sum(gap.value for gap in drops.values()) == pytest.approx(whole, abs=1e-12)
    assert found.parts["total"].value == pytest.approx(whole, abs=1e-12)
    points = found.points["reference"] - found.points["answers"]
    assert sum(gap.points for gap in drops.values()) == pytest.approx(points, abs=1e-10)
    inside = found.parts["erased"].value + found.parts["not_routed"].value
    assert inside == pytest.approx(found.parts["lost_in_decoder"].value, abs=1e-12)
    third = found.parts["lost_in_decoder"].value + found.parts["not_used"].value
    assert third == pytest.approx(drops["comprehension"].value, abs=1e-12)
    last = found.parts["not_used"].value + drops["mapping"].value
    assert found.parts["paper_mapping"].value == pytest.approx(last, abs=1e-12)


def test_levels_are_chance_corrected_balanced_accuracies():
    """Against a plain loop; a missing prediction counts as wrong."""
    made = planted(np.random.default_rng(0), 200)
    made.vision[:20] = -1
    found = waterfall(made, draws=10)
    recalls = []
    for k in range(CLASSES):
        of_class = [i for i in range(200) if made.labels[i] == k]
        recalls.append(sum(made.vision[i] == k for i in of_class) / len(of_class))
    assert found.level["vision"] == pytest.approx((sum(recalls) / 5 - 1 / 5) / (4 / 5), abs=1e-12)
    assert found.points["vision"] == pytest.approx(100 * np.mean(made.vision == made.labels))


def test_p_values_and_intervals_agree_with_the_normal_approximation():
    rng = np.random.default_rng(1)
    images = 1000
    labels = np.arange(images) % 2  # balanced: A is 2 * accuracy - 1
    right = rng.random(images) < 0.8
    changed = rng.random(images) < 0.10
    later = np.where(changed, rng.random(images) < 0.62, right)  # a small loss on the changed ones
    answers = MappedAnswers(*[np.where(later, labels, 1 - labels)] * 4)
    first, second = np.where(right, labels, 1 - labels), np.where(later, labels, 1 - labels)
    made = LocusPredictions(labels, np.arange(images), 2, first, second, second, answers)
    gap = waterfall(made).drops[0].gap
    difference = 2 * (right.astype(float) - later)
    error = np.sqrt(
        sum(difference[labels == k].var() / (labels == k).sum() for k in range(2)) / 4
    )  # a mean of two class means
    assert gap.value == pytest.approx(difference.mean())
    assert gap.p == pytest.approx(norm.sf(gap.value / error), abs=0.02)
    assert gap.low == pytest.approx(gap.value - 1.96 * error, abs=0.1 * error)
    assert gap.high == pytest.approx(gap.value + 1.96 * error, abs=0.1 * error)


def test_copies_of_an_image_in_one_group_add_no_certainty():
    made = planted(np.random.default_rng(2), 150, connector=0.75)

    def repeated(array):
        return None if array is None else np.repeat(array, 4)

    answers = MappedAnswers(
        *[repeated(getattr(made.answers, name)) for name in MappedAnswers.__annotations__]
    )
    arrays = ("labels", "groups", "vision", "connector", "last_token", "reference", "image_mean")
    copies = replace(made, answers=answers, **{name: repeated(getattr(made, name)) for name in arrays})
    once, grouped = waterfall(made, draws=500), waterfall(copies, draws=500)
    for a, b in zip(once.drops, grouped.drops, strict=True):
        assert (a.gap.low, a.gap.high, a.gap.p) == pytest.approx((b.gap.low, b.gap.high, b.gap.p))
    apart = waterfall(replace(copies, groups=np.arange(600)), draws=500)
    assert apart.drops[1].gap.p < grouped.drops[1].gap.p


def test_holm_keeps_the_error_of_the_family_under_a_true_null():
    """Equal accuracies everywhere: some term is called significant in at most 5% of data sets."""
    rng = np.random.default_rng(3)
    data_sets, images = 300, 200
    false = 0
    for _ in range(data_sets):
        made = planted(rng, images, per_group=2)
        found = waterfall(made, draws=400, delta=0.0, seed=int(rng.integers(2**31)))
        false += bool(found.stages)
    assert false / data_sets <= 0.05 + 2.33 * np.sqrt(0.05 * 0.95 / data_sets)


def test_delta_holds_back_a_certain_but_small_drop():
    made = planted(np.random.default_rng(4), 20_000, connector=0.83, image_mean=0.83, last_token=0.83)
    found = waterfall(made, draws=300)
    connector = found.drops[1]
    assert connector.p_adjusted < 0.05
    assert connector.gap.value < 0.05
    assert "connector" not in found.stages


def test_without_a_reference_three_terms_are_one_family():
    made = planted(np.random.default_rng(5), 400, reference=None, answers=0.84)
    found = waterfall(made, draws=500)
    assert [drop.mode for drop in found.drops] == ["connector", "comprehension", "mapping"]
    smallest = min(found.drops, key=lambda drop: drop.gap.p)
    assert smallest.p_adjusted == pytest.approx(min(1.0, 3 * smallest.gap.p))
    assert "total" not in found.parts


def test_shares_of_the_largest_term_add_up_to_one_and_ties_are_shared():
    made = planted(np.random.default_rng(6), 300)
    same = MappedAnswers(*[made.vision] * 4)
    equal = replace(made, reference=made.vision, connector=made.vision, last_token=made.vision, answers=same)
    shares = [drop.probability_largest for drop in waterfall(equal, draws=50).drops]
    assert shares == pytest.approx([0.25] * 4)
    shares = [drop.probability_largest for drop in waterfall(made, draws=50).drops]
    assert sum(shares) == pytest.approx(1.0)


def test_what_was_not_measured_is_absent_and_the_rest_is_reported():
    rng = np.random.default_rng(7)
    bare = waterfall(replace(planted(rng, 100), image_mean=None), draws=20)
    assert not {"erased", "not_routed", "parse_loss", "wrong_layer"} & set(bare.parts)
    made = planted(rng, 3000, generated=0.5, best_vision=0.95, without_prior=0.95)
    full = waterfall(made, draws=100, headline="generated")
    assert full.parts["parse_loss"].points == pytest.approx(35, abs=4)
    assert full.parts["wrong_layer"].points == pytest.approx(10, abs=4)
    assert full.parts["label_prior"].points == pytest.approx(10, abs=4)
    assert full.parts["paper_mapping"].points == pytest.approx(35, abs=4)  # ends at the headline


def test_a_class_of_one_image_breaks_no_draw():
    made = planted(np.random.default_rng(8), 60)
    made.labels[:] = np.where(made.labels == 4, 0, made.labels)
    made.labels[0] = 4
    found = waterfall(made, draws=200)
    assert all(np.isfinite(draws).all() for draws in found.draws.values())


def test_arrays_that_do_not_fit_are_refused_by_name():
    made = planted(np.random.default_rng(9), 50)
    with pytest.raises(ValueError, match=r"connector: \(49,\) predictions for \(50,\) labels"):
        waterfall(replace(made, connector=made.connector[:-1]))
    with pytest.raises(ValueError, match="no generated predictions"):
        waterfall(made, headline="generated")


class TestSmallestVisibleGap:
    def test_eight_points_are_seen_half_of_the_time_with_150_images_and_a_fifth_discordant(self):
        gap = smallest_visible_gap(150, 0.2, 2, power=0.5)
        assert gap / 2 == pytest.approx(0.08, abs=0.001)  # two classes: A is twice the accuracy

    @pytest.mark.parametrize(("images", "discordance", "classes"), [(150, 0.2, 2), (1000, 0.12, 5)])
    def test_it_is_found_in_four_of_five_simulated_data_sets(self, images, discordance, classes):
        rng = np.random.default_rng(10)
        gap = smallest_visible_gap(images, discordance, classes) * (classes - 1) / classes
        shares = [(discordance + gap) / 2, (discordance - gap) / 2, 1 - discordance]
        lost, gained, _ = rng.multinomial(images, shares, size=20_000).T
        difference = (lost - gained) / images
        error = np.sqrt(((lost + gained) / images - difference**2) / images)
        found = difference / error > norm.ppf(1 - 0.05 / 4)
        assert found.mean() == pytest.approx(0.8, abs=0.02)

    def test_a_waterfall_prints_about_what_the_formula_says(self):
        made = planted(np.random.default_rng(11), 2000)
        found = waterfall(made, draws=2000)
        right = {name: made.by_locus()[name] == made.labels for name in ("vision", "connector")}
        discordance = float((right["vision"] != right["connector"]).mean())
        expected = smallest_visible_gap(2000, discordance, CLASSES)
        assert found.drops[1].visible_gap == pytest.approx(expected, rel=0.08)
        assert found.smallest_visible_gap == max(drop.visible_gap for drop in found.drops)

    def test_no_disagreement_in_a_handful_of_images_is_no_certainty(self):
        made = planted(np.random.default_rng(12), 10)
        same = replace(made, connector=made.vision)
        assert waterfall(same, draws=50).drops[1].visible_gap > 0.3
