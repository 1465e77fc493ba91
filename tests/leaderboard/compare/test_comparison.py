"""The accuracy test that decides, its family, and what is refused: against SciPy, plain loops and cases by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from leaderboard.compare.comparison import SWAPS, accuracy_test, compare_results, decide
from leaderboard.compare.contrasts import BOOTSTRAP, MCNEMAR, Paired
from leaderboard.compare.measured import Measured
from leaderboard.compare.thresholds import TaskThresholds, Thresholds
from leaderboard.record.record import RecordError
from tests.leaderboard.compare.compared import changed, result, told_apart


def pair(
    images: int, only_baseline: int, only_candidate: int, **changes: object
) -> tuple[Measured, Measured]:
    baseline, candidate = told_apart(images, only_baseline, only_candidate)
    return result(baseline, **changes), result(candidate, **changes)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 14), st.integers(0, 14))
def test_single_images_are_judged_by_the_exact_test(only_baseline: int, only_candidate: int) -> None:
    (task,) = compare_results([pair(60, only_baseline, only_candidate)]).tasks
    differ = only_baseline + only_candidate
    truth = binomtest(only_candidate, differ).pvalue if differ else 1.0
    assert task.decision.p_adjusted == pytest.approx(truth)
    assert task.accuracy.test == MCNEMAR
    assert task.accuracy.value == pytest.approx((only_candidate - only_baseline) / 60)
    assert (task.only_baseline, task.only_candidate) == (only_baseline, only_candidate)
    better = "improved" if only_candidate > only_baseline else "regressed"
    assert task.decision.verdict == (better if truth < 0.05 else "no evidence")
    assert task.stops == (task.decision.verdict == "regressed")


def test_what_was_measured_is_told_of_each_side() -> None:
    (task,) = compare_results([pair(40, 12, 2)]).tasks
    assert (task.images, task.groups, task.version) == (40, 40, 1)
    assert task.baseline.accuracy.value == pytest.approx(38 / 40)
    assert task.candidate.accuracy.value == pytest.approx(28 / 40)
    assert (task.candidate.outcomes.correct, task.candidate.outcomes.wrong) == (28, 12)
    assert task.accuracy.value == pytest.approx(-0.25)
    assert task.accuracy.low < -0.25 < task.accuracy.high < 0


def test_the_verdict_goes_by_holm_over_tasks_alone() -> None:
    # 0.0129 and 0.0386 by the exact test: each is below 0.05, and both are after Holm (0.0257 and 0.0386).
    pairs = [pair(60, 12, 2, task="a"), pair(60, 3, 12, task="b"), pair(60, 4, 4, task="c")]
    single = [binomtest(2, 14).pvalue, binomtest(12, 15).pvalue, 1.0]
    found = compare_results(pairs)
    by_hand = [3 * single[0], max(3 * single[0], 2 * single[1]), 1.0]
    assert [task.decision.p_adjusted for task in found.tasks] == pytest.approx(by_hand)
    assert [task.decision.verdict for task in found.tasks] == ["regressed", "no evidence", "no evidence"]
    two = compare_results(pairs[:2])
    assert [task.decision.verdict for task in two.tasks] == ["regressed", "improved"]
    assert (two.verdict, two.stops) == ("regressed", True)
    assert compare_results(pairs[1:2]).verdict == "improved"
    assert compare_results(pairs[2:]).verdict == "no evidence"


def test_secondary_tests_cost_the_accuracy_test_nothing_and_it_counts_among_theirs() -> None:
    found = compare_results([pair(60, 12, 2, task="a"), pair(60, 4, 4, task="b")])
    every = [change for task in found.tasks for change in (task.accuracy, *task.secondary)]
    p = np.array([change.p for change in every])
    # Holm's correction over all four, by its definition.
    adjusted = [max(min(1, x * (p >= x).sum()) for x in p[p <= one]) for one in p]
    assert [change.p_adjusted for change in every] == pytest.approx(adjusted)
    assert len(every) == 4  # accuracy and balanced accuracy of both
    assert found.tasks[0].accuracy.p_adjusted > found.tasks[0].decision.p_adjusted


def test_a_level_of_its_own_is_kept() -> None:
    pairs = [pair(60, 12, 2)]
    assert compare_results(pairs, Thresholds(level=0.01)).verdict == "no evidence"
    assert compare_results(pairs, Thresholds(level=0.02)).verdict == "regressed"


@pytest.mark.parametrize(
    ("thresholds", "stops"),
    [
        (Thresholds(smallest_regression=5), True),
        (Thresholds(smallest_regression=10), True),  # a drop of exactly this size
        (Thresholds(smallest_regression=10.1), False),
        (Thresholds(smallest_regression=20, tasks={"small": TaskThresholds(smallest_regression=1)}), True),
        (Thresholds(tasks={"small": TaskThresholds(smallest_regression=20)}), False),
        (Thresholds(smallest_regression=20, tasks={"small": TaskThresholds()}), False),
    ],
)
def test_a_small_regression_is_told_and_stops_nothing(thresholds: Thresholds, stops: bool) -> None:
    found = compare_results([pair(100, 12, 2)], thresholds)
    assert (found.verdict, found.stops) == ("regressed", stops)


def test_groups_are_judged_by_bootstrap_and_by_every_swap() -> None:
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(9), 3)
    baseline = (rng.random(27) < 0.8).astype(float)
    candidate = (rng.random(27) < 0.4).astype(float)
    sums = np.bincount(groups, weights=candidate - baseline)
    swapped = [np.dot(signs, sums) for signs in product((1, -1), repeat=9)]
    exact = np.mean(np.abs(swapped) >= abs(sums.sum()) - 1e-9)
    found = accuracy_test(candidate, baseline, [str(g) for g in groups])
    assert found.test == SWAPS
    assert 0.01 < exact < 0.3
    assert found.p == pytest.approx(exact, abs=0.015)


def test_a_few_images_that_agree_by_chance_show_nothing() -> None:
    # Four of 120 images, each in another group: hardly a resample of the 40 groups misses all four.
    baseline, candidate = told_apart(120, 0, 0)
    candidate[[0, 30, 60, 90]] = 0
    (task,) = compare_results([(result(baseline, per_group=3), result(candidate, per_group=3))]).tasks
    assert task.decision.verdict == "no evidence"
    assert task.decision.p_adjusted == pytest.approx(binomtest(4, 4).pvalue, abs=0.02)


def test_many_groups_show_what_single_images_show() -> None:
    rng = np.random.default_rng(0)
    baseline, candidate = told_apart(600, 90, 30)
    shuffled = rng.permutation(600)
    (task,) = compare_results(
        [(result(baseline[shuffled], per_group=2), result(candidate[shuffled], per_group=2))]
    ).tasks
    assert task.decision.verdict == "regressed"
    assert (task.images, task.groups) == (600, 300)


def test_the_names_of_groups_do_not_matter() -> None:
    baseline, candidate = told_apart(90, 30, 8)
    first, second = result(baseline, per_group=3), result(candidate, per_group=3)
    renamed = replace(
        second,
        samples=tuple(s.model_copy(update={"group": f"x{1000 - int(s.group)}"}) for s in second.samples),
    )
    assert compare_results([(first, second)]) == compare_results([(first, renamed)])


def test_no_difference_at_all_is_no_evidence() -> None:
    same = result(told_apart(50, 0, 0)[0])
    grouped = result(told_apart(50, 0, 0)[0], per_group=5, task="grouped")
    for task in compare_results([(same, same), (grouped, grouped)]).tasks:
        assert (task.accuracy.value, task.decision.p_adjusted) == (0, 1)
        assert task.decision.verdict == "no evidence"
        assert task.accuracy.low < 0 < task.accuracy.high


def test_decide_gives_no_verdict_where_there_is_no_difference() -> None:
    strange = Paired(value=0.0, low=-0.1, high=0.1, p=0.001, test=BOOTSTRAP)
    assert decide([strange], 0.05)[0].verdict == "no evidence"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "other"}, "task name 'small' and 'other'"),
        ({"version": 2}, "task version 1 and 2"),
        ({"status": "failed"}, "the run failed"),
    ],
)
def test_what_is_not_the_same_task_is_refused(changes: dict[str, object], said: str) -> None:
    baseline, candidate = pair(30, 5, 5)
    with pytest.raises(RecordError, match=said):
        compare_results([(baseline, changed(candidate, **changes))])


def test_other_images_are_refused() -> None:
    baseline, candidate = pair(30, 5, 5)
    fewer = replace(candidate, samples=candidate.samples[:-1])
    others = replace(
        candidate,
        samples=(*candidate.samples[:-1], candidate.samples[-1].model_copy(update={"pixel_hash": "1"})),
    )
    regrouped = result(told_apart(30, 5, 5)[1], per_group=2)
    for other, said in ((fewer, "30 and 29 test images"), (others, "pixel_hash"), (regrouped, "grouped")):
        with pytest.raises(RecordError, match=said):
            compare_results([(baseline, other)])


@pytest.mark.parametrize("changes", [{"label": 4}, {"label": -1}, {"predicted": 9}, {"scores": (0.0, 1.0)}])
def test_classes_that_the_task_does_not_have_are_refused(changes: dict[str, object]) -> None:
    baseline, candidate = pair(30, 5, 5)

    def spoilt(side: Measured) -> Measured:
        return replace(side, samples=(side.samples[0].model_copy(update=changes), *side.samples[1:]))

    with pytest.raises(RecordError, match=r"samples\.jsonl: image val/00000"):
        compare_results([(spoilt(baseline), spoilt(candidate))])


def test_partial_runs_on_the_same_images_are_compared_and_marked() -> None:
    baseline, candidate = pair(30, 12, 1)
    both = [changed(side, status="partial", n_test=500) for side in (baseline, candidate)]
    (task,) = compare_results([(both[0], both[1])]).tasks
    assert task.decision.verdict == "regressed"
    assert (task.baseline.status, task.candidate.status) == ("partial", "partial")
    assert any("partial: 30 of 500" in remark for remark in task.remarks)
    assert not any(
        "partial" in remark for remark in compare_results([(baseline, candidate)]).tasks[0].remarks
    )


def test_two_measures_of_the_answers_are_an_obstacle_for_a_gate() -> None:
    baseline, candidate = pair(30, 5, 5)
    scored, read = changed(baseline, headline="scores"), changed(candidate, headline="generated")
    assert compare_results([(scored, read)]).tasks[0].obstacles
    assert not compare_results([(scored, changed(candidate, headline="scores"))]).tasks[0].obstacles


def test_errors_are_told() -> None:
    baseline, candidate = pair(30, 0, 0)
    broken = candidate.samples[-1].model_copy(update={"outcome": "error", "predicted": None, "scores": None})
    (task,) = compare_results(
        [(baseline, replace(candidate, samples=(*candidate.samples[:-1], broken)))]
    ).tasks
    assert task.candidate.outcomes.error == 1
    assert any("1 errors in the candidate" in remark for remark in task.remarks)
