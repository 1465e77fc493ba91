"""Is a verdict right? Counts, shares with intervals clustered by healthy model, and the detection limit."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from probes.stats.metrics import Estimate
from tools.faultbench.cases import Case, baseline
from tools.faultbench.results import Result

Outcome = Literal["right", "wrong", "undetermined"]
Floats = NDArray[np.float64]

STAGES = ("vision", "connector", "comprehension", "mapping")
MILD_DROP = (5.0, 10.0)  # points of accuracy, both ends in
MILD_IMAGES = 2000
LIMIT_DRAWS = 500
_LEVEL = 0.95


def outcome(case: Case, verdict: str) -> Outcome:
    """Tell whether a verdict is one of the expected; "undetermined" is neither right nor wrong."""
    if verdict in case.expected:
        return "right"
    return "undetermined" if verdict == "undetermined" else "wrong"


def blames(case: Case, verdict: str) -> bool:
    """Tell whether a stage is blamed that has no fault."""
    return verdict in STAGES and verdict not in case.expected


@dataclass(frozen=True)
class Counts:
    """How many verdicts were right, wrong and undetermined."""

    right: int
    wrong: int
    undetermined: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.right + self.wrong + self.undetermined


def count(results: Iterable[Result], rule: str | None = None) -> Counts:
    """Count outcomes under a rule, the shipped one by default."""
    found = Counter(outcome(r.case, said(r, rule)) for r in results)
    return Counts(found["right"], found["wrong"], found["undetermined"])


def said(result: Result, rule: str | None = None) -> str:
    """Return the verdict under a rule, the shipped one by default."""
    return result.judged.verdict if rule is None else result.judged.verdicts[rule]


def answer_drops(results: Sequence[Result]) -> dict[str, float]:
    """Return by case name how many points the healthy model's answers are better on the same images.

    Cases whose healthy model was not judged on those images are left out.
    """
    accuracy = {r.case.name: r.accuracy for r in results}
    found = {}
    for result in results:
        healthy = accuracy.get(baseline(result.case).name)
        if result.case.role in ("fault", "mismatch") and healthy is not None:
            found[result.case.name] = healthy - result.accuracy
    return found


def share(results: Sequence[Result], counted: Callable[[Result], bool]) -> Estimate | None:
    """Return the share of results that count, with an interval clustered by healthy model."""
    by_model: dict[str, list[bool]] = defaultdict(list)
    for result in results:
        by_model[result.case.model].append(counted(result))
    return cluster_share(by_model)


def cluster_share(by_cluster: Mapping[str, Sequence[bool]]) -> Estimate | None:
    """Return the share of True over all cases, with a 95% interval clustered by its keys; None without any.

    The t interval of a ratio of totals over clusters (Cochran 1977, Sampling Techniques, section 6.3), with
    clusters - 1 degrees of freedom, cut at 0 and 1. Where all clusters have the same share no spread can be
    seen, and with one cluster none exists: there it is Wilson's interval with each cluster as one
    observation, as if the cases of a model always ended alike. `n` is the number of cases.
    """
    from scipy.stats import t

    sizes = np.array([len(cases) for cases in by_cluster.values() if cases], dtype=float)
    if not sizes.size:
        return None
    hits = np.array([sum(cases) for cases in by_cluster.values() if cases], dtype=float)
    clusters, value = len(sizes), float(hits.sum() / sizes.sum())
    residuals = hits - value * sizes
    spread = float(np.sqrt(clusters / max(clusters - 1, 1) * (residuals**2).sum()) / sizes.sum())
    if clusters > 1 and spread > 1e-12:
        half = float(t.ppf((1 + _LEVEL) / 2, clusters - 1)) * spread
        low, high = max(0.0, value - half), min(1.0, value + half)
    else:
        low, high = wilson(value, clusters)
    return Estimate(value, low, high, int(sizes.sum()))


def wilson(value: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share of n observations (Wilson 1927)."""
    from scipy.stats import norm

    z = float(norm.ppf((1 + _LEVEL) / 2))
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Logistic:
    """P(right) = 1 / (1 + exp(-(intercept + slope * drop))), drop in points of accuracy."""

    intercept: float
    slope: float

    def drop_at(self, probability: float) -> float:
        """Return the drop at which P(right) has this value; NaN where P does not rise with the drop."""
        if self.slope <= 0:
            return math.nan
        return (math.log(probability / (1 - probability)) - self.intercept) / self.slope

    def probability(self, drop: Floats) -> Floats:
        """Return P(right) at these drops."""
        return 1 / (1 + np.exp(-(self.intercept + self.slope * drop)))


def fit_logistic(drops: Floats, right: NDArray[np.bool_], weights: Floats | None = None) -> Logistic | None:
    """Fit P(right) on the drop by Firth's penalised likelihood (Firth 1993, Biometrika 80:27).

    The penalty keeps the fit finite where a drop separates right from not right. None where all ended
    alike, or all drops are the same: there is no limit to see.
    """
    w = np.ones(len(drops)) if weights is None else weights
    seen = w > 0
    if len(np.unique(right[seen])) < 2 or np.ptp(drops[seen]) == 0:
        return None
    centre, scale = float(drops[seen].mean()), float(drops[seen].std())
    x = np.stack([np.ones(seen.sum()), (drops[seen] - centre) / scale], axis=1)
    y, w = right[seen].astype(float), w[seen]
    beta = np.zeros(2)
    for _ in range(200):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        information = (x * (w * p * (1 - p))[:, None]).T @ x
        inverse = np.linalg.pinv(information)
        leverage = w * p * (1 - p) * np.einsum("ij,jk,ik->i", x, inverse, x)
        step = inverse @ (x.T @ (w * (y - p) + leverage * (0.5 - p)))
        largest = float(np.abs(step).max())
        beta = beta + step * min(1.0, 2.0 / largest if largest else 1.0)
        if largest < 1e-9:
            break
    return Logistic(float(beta[0] - beta[1] * centre / scale), float(beta[1] / scale))


@dataclass(frozen=True)
class Limit:
    """The drop at which a fault is named right with some probability, with a 95% interval.

    `low` and `high` are None where too many of the resamples have no limit.
    """

    probability: float
    drop: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class DetectionLimit:
    """The fitted curve, its limits, and the cases behind it."""

    curve: Logistic
    limits: tuple[Limit, ...]
    cases: int
    models: int


def detection_limit(
    results: Sequence[Result],
    drops: Mapping[str, float],
    *,
    probabilities: Sequence[float] = (0.5, 0.8),
    draws: int = LIMIT_DRAWS,
    seed: int = 0,
) -> DetectionLimit | None:
    """Fit how P(right) grows with the answers' drop; intervals resample whole healthy models.

    Planted faults with a known drop count, but not those for which "healthy" is right (answers in a form
    that no reader understands): they cost the scored answers nothing.
    """
    used = [
        r
        for r in results
        if r.case.role == "fault" and "healthy" not in r.case.expected and r.case.name in drops
    ]
    x = np.array([drops[r.case.name] for r in used])
    y = np.array([outcome(r.case, said(r)) == "right" for r in used])
    curve = fit_logistic(x, y) if used else None
    if curve is None:
        return None
    names = sorted({r.case.model for r in used})
    index = np.array([names.index(r.case.model) for r in used])
    rng = np.random.default_rng(seed)
    drawn: dict[float, list[float]] = {p: [] for p in probabilities}
    for _ in range(draws):
        times = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        fitted = fit_logistic(x, y, times[index].astype(float))
        for p in probabilities:
            drawn[p].append(math.nan if fitted is None else fitted.drop_at(p))
    limits = tuple(_limit(p, curve.drop_at(p), np.array(drawn[p])) for p in probabilities)
    return DetectionLimit(curve, limits, len(used), len(names))


def _limit(probability: float, drop: float, drawn: Floats) -> Limit:
    usable = drawn[np.isfinite(drawn)]
    if usable.size < 0.9 * drawn.size:
        return Limit(probability, drop, None, None)
    low, high = np.quantile(usable, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Limit(probability, drop, float(low), float(high))


def mild_in_range(results: Sequence[Result], drops: Mapping[str, float]) -> list[Result]:
    """Return the planted faults whose answers were down 5 to 10 points on at least 2,000 test images."""
    low, high = MILD_DROP
    return [
        r
        for r in results
        if r.case.role == "fault"
        and r.case.draw.test >= MILD_IMAGES
        and low <= drops.get(r.case.name, math.nan) <= high
    ]


@dataclass(frozen=True)
class RuleScore:
    """What a rule reached on the cases that choose it: faults by severity, and false blame."""

    rule: str
    strong: Counts
    mild: Counts
    blamed: int
    innocent: int

    @property
    def balance(self) -> int:
        """Right verdicts minus twice the wrong ones, false blame among them: what the choice goes by."""
        right = self.strong.right + self.mild.right
        return right - 2 * (self.strong.wrong + self.mild.wrong + self.blamed)


def compare_rules(results: Sequence[Result]) -> list[RuleScore]:
    """Score every rule on these results; one of the highest balance is the rule to choose."""
    if not results:
        return []
    faults = [r for r in results if r.case.role == "fault"]
    innocent = [r for r in results if r.case.role in ("healthy", "trap")]
    scores = []
    for rule in results[0].judged.verdicts:
        scores.append(
            RuleScore(
                rule,
                strong=count([r for r in faults if r.case.severity == "strong"], rule),
                mild=count([r for r in faults if r.case.severity == "mild"], rule),
                blamed=sum(blames(r.case, said(r, rule)) for r in innocent),
                innocent=len(innocent),
            )
        )
    return scores


def best_rules(scores: Sequence[RuleScore]) -> tuple[str, ...]:
    """Return the rules with the highest balance; several where these cases do not tell them apart."""
    highest = max((score.balance for score in scores), default=0)
    return tuple(score.rule for score in scores if score.balance == highest)
