"""The verdict finds what was planted, says when it cannot know, and blames nobody without cause."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.verdict.bottleneck import (
    EARLIEST,
    ISOTONIC,
    ISOTONIC_TOTAL,
    LARGEST,
    MONOTONE,
    RULES,
    Rule,
    fall,
    find_bottleneck,
)
from probes.verdict.diagnosis import SignalTests, diagnose
from probes.verdict.explanation import explain
from probes.verdict.waterfall import waterfall
from tests.probes.planted import planted

LOW = 0.73
AFTER = ("vision", "connector", "image_mean", "last_token", "logistic", "answers")
FAULTS = {
    "vision": dict.fromkeys(AFTER, LOW),
    "connector": dict.fromkeys(AFTER[1:], LOW),
    "erased": dict.fromkeys(AFTER[2:], LOW),
    "not_routed": dict.fromkeys(AFTER[3:], LOW),
    "not_used": dict.fromkeys(AFTER[4:], LOW),
    "label_prior": {"answers": LOW, "without_prior": 0.85},
    "label_permutation": {"answers": LOW, "relabelled": 0.85},
}
MODE_OF = dict.fromkeys(("erased", "not_routed", "not_used"), "comprehension") | dict.fromkeys(
    ("label_prior", "label_permutation"), "mapping"
)


def judged(seed, images=1500, rule=ISOTONIC, signal=None, permutation_p=None, **levels):
    made = planted(np.random.default_rng(seed), images, **levels)
    reference = None if made.reference is None else "small convolutional network"
    return diagnose(
        waterfall(made, draws=1000),
        reference=reference,
        signal=signal,
        permutation_p=permutation_p,
        rule=rule,
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named(fault, rule):
    found = judged(0, rule=rule, permutation_p=1e-9, **FAULTS[fault])
    mode = MODE_OF.get(fault, fault)
    assert found.verdict == mode
    assert found.stages == (mode,)
    if fault != mode:
        assert found.details == (fault,)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_healthy_models_are_called_so_and_not_blamed(rule):
    verdicts = [judged(seed, images=2000, rule=rule).verdict for seed in range(15)]
    assert set(verdicts) <= {"healthy", "undetermined"}
    assert verdicts.count("healthy") >= 12


def test_a_perfect_pass_through_is_healthy():
    made = planted(np.random.default_rng(1), 1000, reference=1.0, **dict.fromkeys(AFTER, 1.0))
    assert diagnose(waterfall(made, draws=200), reference="R").verdict == "healthy"


def test_a_probe_that_reads_one_locus_badly_is_no_loss():
    """The connector's output is hard to read and everything after it is not: nothing is lost there."""
    dip = judged(2, connector=0.75)
    assert dip.stages == ("connector",)
    assert dip.verdict == "healthy"
    assert dip.details == ("readability",)
    assert judged(2, rule=LARGEST, connector=0.75).verdict == "connector"


def test_a_loss_that_two_stages_share_is_undetermined():
    found = judged(3, connector=0.79, **dict.fromkeys(AFTER[2:], 0.73))
    assert found.verdict == "undetermined"
    assert set(found.stages) == {"connector", "comprehension"}
    assert 0.05 < found.probabilities["connector"] < 0.95
    assert "readability" not in found.details
    assert "connector" in explain(found)


def test_the_earliest_rule_prefers_the_cause_to_a_larger_consequence():
    levels = {"connector": 0.77} | dict.fromkeys(AFTER[2:], 0.63)
    assert judged(4, rule=EARLIEST, **levels).verdict == "connector"
    assert judged(4, rule=LARGEST, **levels).verdict == "comprehension"


def test_the_gate_on_the_whole_loss_traces_one_that_no_stage_shows_alone():
    levels = {"connector": 0.815} | dict.fromkeys(AFTER[2:], 0.80)
    measured = waterfall(planted(np.random.default_rng(20), 20_000, **levels), draws=300)
    assert max(drop.gap.value for drop in measured.drops) < 0.05
    for correction in ("none", "isotonic", "best_later"):
        on_total = Rule("on the total", correction, share=0.7, gate="total")
        assert find_bottleneck(measured, on_total).bottleneck == "connector"
        for gate in ("corrected", "plain"):
            assert find_bottleneck(measured, replace(on_total, gate=gate)).bottleneck is None


def test_the_gate_on_the_whole_loss_still_asks_for_delta():
    levels = dict.fromkeys(AFTER[1:], 0.83)
    measured = waterfall(planted(np.random.default_rng(21), 20_000, **levels), draws=300)
    assert measured.drops[1].p_adjusted < 0.05
    assert find_bottleneck(measured, ISOTONIC_TOTAL).significant == ()


def test_the_plain_gate_blames_only_stages_that_are_listed():
    for seed in range(10):
        made = planted(np.random.default_rng(seed), 400, connector=0.79, answers=0.80)
        measured = waterfall(made, draws=200)
        for correction in ("none", "isotonic", "best_later"):
            found = find_bottleneck(measured, Rule("plain", correction, share=1.0, agreement=0, gate="plain"))
            assert found.significant == measured.stages


class TestSignal:
    chance = dict.fromkeys(AFTER, 0.2) | {"reference": 0.2}

    def test_nothing_beats_shuffled_labels(self):
        found = judged(5, signal=SignalTests(0.4, 0.3, 0.02, 0.5), **self.chance)
        assert found.verdict == "no_signal"
        assert found.stages == found.details == ()

    def test_the_reference_sees_what_the_consumed_layer_does_not(self):
        found = judged(6, signal=SignalTests(0.005, 0.2, 0.3, 0.3), **self.chance | {"reference": 0.6})
        assert found.verdict == "vision"

    def test_the_permutation_test_alone_can_show_it_on_a_small_test_set(self):
        levels = self.chance | {"reference": 0.30}
        found = judged(6, images=150, signal=SignalTests(0.005, 0.2, 0.3, 0.3), **levels)
        assert found.drops[0].gap.value > 0.05
        assert (found.verdict, found.stages) == ("vision", ())
        assert "does not" in explain(found)

    def test_a_p_value_just_above_the_level_is_no_loss_by_itself(self):
        signal = SignalTests(0.005, 0.2, 0.02, 0.02)
        assert judged(7, signal=signal, **self.chance | {"reference": 0.22}).verdict != "vision"

    def test_what_was_not_tested_decides_nothing(self):
        assert judged(8, signal=SignalTests()).verdict == "healthy"


def test_without_a_reference_vision_is_not_assessed_and_nothing_is_called_healthy():
    found = judged(9, reference=None)
    assert found.verdict == "undetermined"
    assert not found.vision_assessed
    assert "not assessed" in explain(found)
    assert judged(9, reference=None, **FAULTS["connector"]).verdict == "connector"


def test_a_small_test_set_cannot_call_a_model_healthy():
    found = judged(10, images=100)
    assert found.verdict == "undetermined"
    assert found.smallest_visible_gap > 0.1
    assert f"{found.smallest_visible_gap:.2f}" in explain(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_loss_that_500_images_cannot_establish_is_not_called_healthy(rule):
    """A drop of 0.06 in A: often too uncertain to be blamed, and not to be ruled out either."""
    levels = dict.fromkeys(AFTER[1:], 0.80)
    verdicts = [judged(seed, images=500, rule=rule, **levels).verdict for seed in range(20, 40)]
    assert verdicts.count("undetermined") >= 3
    assert verdicts.count("healthy") <= 3


def test_details_name_no_permutation_without_its_test_and_add_a_parse_loss():
    levels = FAULTS["label_permutation"] | {"generated": 0.4}
    assert judged(11, permutation_p=0.2, **levels).details == ("parse_loss",)
    assert judged(11, permutation_p=0.001, **levels).details == ("label_permutation", "parse_loss")
    healthy = judged(12, generated=0.4)
    assert (healthy.verdict, healthy.details) == ("healthy", ("parse_loss",))


def test_a_wrong_layer_is_a_detail_of_vision():
    assert judged(13, best_vision=0.85, **FAULTS["vision"]).details == ("wrong_layer",)
    assert judged(13, best_vision=LOW, **FAULTS["vision"]).details == ()


def test_details_need_size_and_certainty():
    small = judged(18, images=20_000, best_vision=LOW + 0.02, **FAULTS["vision"])
    assert small.details == ()
    levels = dict.fromkeys(AFTER, 0.4) | {"best_vision": 0.48}
    made = planted(np.random.default_rng(3), 80, **levels)
    measured = waterfall(made, draws=500)
    part = measured.parts["wrong_layer"]
    assert part.value > 0.05 < part.p
    found = diagnose(measured, reference="R")
    assert (found.verdict, found.details) == ("vision", ())


def test_of_two_repairs_of_one_mapping_the_better_one_names_it():
    prior = {"answers": LOW, "without_prior": 0.85, "relabelled": 0.79}
    assert judged(19, permutation_p=1e-9, **prior).details == ("label_prior",)
    swap = {"answers": LOW, "without_prior": 0.79, "relabelled": 0.85}
    assert judged(19, permutation_p=1e-9, **swap).details == ("label_permutation",)


def test_a_reference_must_be_named_where_there_is_one_and_only_there():
    measured = waterfall(planted(np.random.default_rng(14), 100), draws=20)
    with pytest.raises(ValueError, match="reference None"):
        diagnose(measured)
    with pytest.raises(ValueError, match="agreement 2"):
        Rule("impossible", "none", share=1.0, agreement=2)


def test_two_sentences_say_what_how_sure_and_what_would_mend_it():
    for fault, levels in FAULTS.items():
        text = explain(judged(15, permutation_p=1e-9, **levels))
        assert text.count(". ") == 1, text
        assert text.endswith(".")
        assert "points of accuracy" in text
        assert "resampled test sets agree" in text
        words = {"vision": "encoder", "label_prior": "mean score", "label_permutation": "Relabel"}
        assert words.get(fault, "") in text
    assert "A loss" not in explain(judged(16))
    assert explain(judged(16)).startswith("No stage loses the class")


levels_along_the_path = st.lists(
    st.lists(st.floats(-1, 1), min_size=6, max_size=6), min_size=1, max_size=5
).map(np.array)


class TestCorrections:
    @settings(max_examples=60, deadline=None)
    @given(levels=levels_along_the_path)
    def test_they_never_rise_and_leave_falling_levels_alone(self, levels):
        for correction in ("best_later", "isotonic", "least_so_far"):
            fallen = fall(levels, correction)
            assert (np.diff(fallen, axis=-1) <= 1e-12).all()
            again = np.sort(levels, axis=-1)[:, ::-1]
            np.testing.assert_allclose(fall(again, correction), again, atol=1e-12)
        assert (fall(levels, "best_later") >= levels).all()
        assert (fall(levels, "least_so_far") <= levels).all()

    @settings(max_examples=60, deadline=None)
    @given(levels=levels_along_the_path)
    def test_isotonic_is_scikit_learns(self, levels):
        regression = pytest.importorskip("sklearn.isotonic").IsotonicRegression(increasing=False)
        truth = [regression.fit_transform(np.arange(6), row) for row in levels]
        np.testing.assert_allclose(fall(levels, "isotonic"), truth, atol=1e-10)

    def test_image_tokens_inside_the_decoder_speak_for_the_connector(self):
        """They come from it; where the LLM is at fault they alone show that the connector is well."""
        made = planted(np.random.default_rng(17), 2000, connector=0.76, **dict.fromkeys(AFTER[3:], 0.76))
        measured = waterfall(made, draws=500)
        assert find_bottleneck(measured, MONOTONE).bottleneck == "comprehension"
        blind = waterfall(replace(made, image_mean=None), draws=500)
        assert find_bottleneck(blind, MONOTONE).bottleneck == "connector"
