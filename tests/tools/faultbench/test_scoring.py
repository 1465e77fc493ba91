"""Outcomes, shares and limits against hand-counted cases, scikit-learn and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tools.faultbench import scoring
from tools.faultbench.handmade import fault, healthy, trap


@pytest.mark.parametrize(
    ("expected", "verdict", "outcome"),
    [
        (("vision",), "vision", "right"),
        (("vision",), "connector", "wrong"),
        (("vision",), "undetermined", "undetermined"),
        (("vision",), "healthy", "wrong"),  # a fault that is missed is a wrong statement
        (("vision",), "no_signal", "wrong"),
        (("comprehension", "mapping"), "mapping", "right"),
        (("healthy",), "healthy", "right"),
        (("healthy",), "mapping", "wrong"),
        (("undetermined", "vision"), "undetermined", "right"),
    ],
)
def test_outcome_of_a_verdict(expected: tuple[str, ...], verdict: str, outcome: str) -> None:
    assert scoring.outcome(fault(expected=expected).case, verdict) == outcome


def test_only_a_named_innocent_stage_is_blame() -> None:
    said = ("vision", "connector", "comprehension", "mapping", "undetermined", "healthy", "no_signal")
    assert [v for v in said if scoring.blames(healthy().case, v)] == list(said[:4])
    strong_reference = trap("strong_reference", expected=("healthy", "vision")).case
    assert [v for v in said if scoring.blames(strong_reference, v)] == list(said[1:4])


def test_drop_is_measured_on_the_same_images() -> None:
    results = [
        healthy(accuracy=80.0, draw=3),
        healthy(accuracy=60.0, draw=4),
        healthy(accuracy=10.0, draw=3, family="gemma3"),
        fault("a", accuracy=71.0, draw=3),
        fault("b", accuracy=71.0, draw=5),  # nobody knows what the healthy model reaches there
    ]
    assert scoring.answer_drops(results) == {results[3].case.name: pytest.approx(9.0)}


def test_mild_cases_are_chosen_by_measured_drop_and_test_size() -> None:
    base = healthy(accuracy=80.0, draw=3, test=2000)
    small = [healthy(accuracy=80.0, draw=4), fault("small", accuracy=73.0, draw=4)]
    made = [
        fault(name, accuracy=accuracy, draw=3, test=2000)
        for name, accuracy in (("few", 75.1), ("low", 75.0), ("mid", 72.0), ("high", 70.0), ("many", 69.9))
    ]
    results = [base, *small, *made]
    chosen = scoring.mild_in_range(results, scoring.answer_drops(results))
    assert [r.case.kind for r in chosen] == ["low", "mid", "high"]


def test_cluster_interval_of_equal_clusters_is_the_t_interval_of_their_shares() -> None:
    from scipy.stats import sem, t

    by_cluster = {"a": [True] * 9 + [False], "b": [True] * 7 + [False] * 3, "c": [True] * 8 + [False] * 2}
    found = scoring.cluster_share(by_cluster)
    assert found is not None
    shares = [0.9, 0.7, 0.8]
    low, high = t.interval(0.95, 2, loc=np.mean(shares), scale=sem(shares))
    assert (found.value, found.low, found.high, found.n) == (
        pytest.approx(0.8),
        pytest.approx(low),
        pytest.approx(min(1.0, high)),
        30,
    )


def test_interval_without_spread_counts_models_not_cases() -> None:
    from scipy.stats import binomtest

    found = scoring.cluster_share({str(k): [True] * 12 for k in range(6)})
    assert found is not None
    wilson = binomtest(6, 6).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high, found.n) == (pytest.approx(wilson.low), pytest.approx(1.0), 72)
    assert scoring.cluster_share({}) is None
    assert scoring.cluster_share({"a": []}) is None
    alone = scoring.cluster_share({"a": [True, False]})
    assert alone is not None
    assert (alone.low, alone.high) == (pytest.approx(0.0546, abs=1e-3), pytest.approx(0.9454, abs=1e-3))


def test_cluster_interval_covers_where_models_differ() -> None:
    """Nine models of 14 cases whose own shares vary: an interval that takes cases as independent fails."""
    rng = np.random.default_rng(5)
    covered = {"clustered": 0, "independent": 0}
    for _ in range(400):
        right = rng.random((9, 14)) < rng.beta(3, 1, (9, 1))
        found = scoring.cluster_share(dict(zip("abcdefghi", map(list, right), strict=True)))
        assert found is not None
        covered["clustered"] += found.low <= 0.75 <= found.high
        low, high = scoring.wilson(float(right.mean()), right.size)
        covered["independent"] += low <= 0.75 <= high
    assert covered["clustered"] / 400 >= 0.91
    assert covered["independent"] / 400 <= 0.85


def test_logistic_fit_agrees_with_maximum_likelihood_on_many_cases() -> None:
    rng = np.random.default_rng(1)
    drops = rng.uniform(-2, 20, 20_000)
    right = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * drops - 3)))
    fitted = scoring.fit_logistic(drops, right)
    plain = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(drops[:, None], right)
    assert fitted is not None
    assert fitted.slope == pytest.approx(plain.coef_[0, 0], rel=1e-3)
    assert fitted.intercept == pytest.approx(plain.intercept_[0], rel=1e-3)
    assert fitted.drop_at(0.5) == pytest.approx(6, abs=0.2)
    assert fitted.drop_at(0.8) == pytest.approx((math.log(4) + 3) / 0.5, abs=0.3)


def test_logistic_fit_maximises_firths_penalised_likelihood() -> None:
    from scipy.optimize import minimize

    drops = np.array([1.0, 2.0, 3.0, 8.0, 9.0, 12.0])
    right = np.array([False, False, False, True, True, True])  # separable: no maximum without the penalty

    def loss(beta: np.ndarray) -> float:
        x = np.stack([np.ones(6), drops], axis=1)
        p = 1 / (1 + np.exp(-x @ beta))
        likelihood = np.log(np.where(right, p, 1 - p)).sum()
        return -float(likelihood + 0.5 * np.linalg.slogdet((x.T * (p * (1 - p))) @ x)[1])

    best = minimize(loss, [0.0, 0.1], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
    fitted = scoring.fit_logistic(drops, right)
    assert fitted is not None
    assert (fitted.intercept, fitted.slope) == pytest.approx(tuple(best.x), rel=1e-4)
    doubled = scoring.fit_logistic(drops.repeat(2), right.repeat(2))
    weighted = scoring.fit_logistic(drops, right, np.full(6, 2.0))
    assert doubled == weighted or doubled is not None
    assert weighted is not None
    assert doubled is not None
    assert weighted.slope == pytest.approx(doubled.slope, rel=1e-6)


def test_no_limit_where_all_ended_alike() -> None:
    assert scoring.fit_logistic(np.array([1.0, 2.0]), np.array([True, True])) is None
    assert scoring.fit_logistic(np.array([1.0, 1.0]), np.array([True, False])) is None
    assert scoring.detection_limit([], {}) is None


def test_detection_limit_recovers_a_planted_one() -> None:
    rng = np.random.default_rng(3)
    results = []
    for family in ("llava", "qwen2.5-vl", "gemma3"):
        for seed in (1, 2):
            results.append(healthy(family=family, seed=seed, accuracy=85.0))
            for k in range(40):
                drop = float(rng.uniform(0, 20))
                right = rng.random() < 1 / (1 + math.exp(-(drop - 6)))
                results.append(
                    fault(f"f{k}", "vision" if right else "undetermined", family=family, seed=seed,
                          accuracy=85.0 - drop)
                )  # fmt: skip
    # What costs the answers nothing says nothing of how large a drop must be.
    results.append(fault("unparsable", "vision", expected=("healthy",), accuracy=40.0))
    found = scoring.detection_limit(results, scoring.answer_drops(results), draws=100)
    assert found is not None
    assert (found.cases, found.models) == (240, 6)
    half, most = found.limits
    assert half.low is not None
    assert half.high is not None
    assert half.low < 6 < half.high
    assert half.drop == pytest.approx(6, abs=0.8)
    assert most.drop == pytest.approx(6 + math.log(4), abs=1.0)


def test_rule_with_the_best_balance_is_chosen() -> None:
    bold = {"bold": "vision", "shy": "undetermined"}
    results = [
        fault("a", verdicts=bold, severity="strong"),
        fault("b", verdicts=bold, severity="strong"),
        fault("c", verdicts=bold, severity="mild", expected=("connector",)),
        healthy(verdicts={"bold": "healthy", "shy": "healthy"}),
        trap("shuffled_labels", verdicts={"bold": "vision", "shy": "no_signal"}, expected=("no_signal",)),
        fault("d", verdicts={"bold": "mapping", "shy": "mapping"}, role="mismatch", expected=()),
    ]
    found = scoring.compare_rules(results)
    assert [(s.rule, s.strong.right, s.mild.wrong, s.blamed, s.innocent) for s in found] == [
        ("bold", 2, 1, 1, 2),
        ("shy", 0, 0, 0, 2),
    ]
    assert [s.balance for s in found] == [2 - 2 * 2, 0]
    assert scoring.best_rules(found) == ("shy",)
    assert scoring.best_rules([]) == ()
