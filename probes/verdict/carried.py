"""The waterfall on what every locus carries: lifted levels, tested by sign flips over groups.

**Lifting.** What a later locus shows was there before (data processing inequality), and the image holds what
any layer shows. So with A the measured levels along the path R, v, c, h_img, h_ans, G3, G0, each level is
raised to the best at this or any later locus, and the drop of a term from its loci U to all later loci W is

    D = max(0, max over u in U of A(u) - max over w in W of A(w)).

(U is R; v; c, h_img and h_ans; G3.) Lifted drops are never negative and still add up to the whole loss.

**What makes the test valid after it.** D > 0 claims that something in U is above *every* w in W. Its null
hypothesis is a union, "some w in W is as good as all of U", so it may be rejected where every single
hypothesis of the union is, each at the full level: the p of a term is the *largest* over w (intersection-union
test, Berger 1982; no correction, since a false rejection needs the true w to be rejected). For one w, "all of U
is at most w" is tested by the maximum over u of A(u) - A(w) on jointly flipped groups (max-statistic, Westfall
and Young 1993), which pays for the choice among U. Picking the maxima therefore never makes the level false,
whatever their noise; Holm then corrects over the terms. The interval of a lifted drop takes the best u: its
upper bound is that of the difference to the best w, its lower one the least over W.

In bootstrap draws, which say how sure a rule is and test nothing, every draw is lifted by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from probes.stats.bootstrap import ClusterBootstrap
from probes.stats.metrics import accuracy, balanced_accuracy, chance_corrected, holm
from probes.stats.sign_flip import FlipTest, SignFlips, reached
from probes.verdict import waterfall as falls
from probes.verdict.bottleneck import Rule
from probes.verdict.diagnosis import Diagnosis, SignalTests, diagnose
from probes.verdict.waterfall import DELTA, DRAWS, LEVEL, Drop, Gap, Locus, LocusPredictions, Mode, Waterfall

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
Pairing = Literal["tokens", "image"]

CARRIED = Rule("carried", "best_later", share=0.7, gate="plain")  # the drops are lifted and tested already
PATH: tuple[Locus, ...] = (
    "reference",
    "vision",
    "connector",
    "image_mean",
    "last_token",
    "logistic",
    "answers",
)

_RANGE = 2.0  # the widest that a difference of A can be: the interval of what cannot be tested

_ZERO = np.zeros(1)  # of a locus that was not refitted

_STARTS: dict[Mode, tuple[Locus, ...]] = {
    "vision": ("reference",),
    "connector": ("vision",),
    "comprehension": ("connector", "image_mean", "last_token"),
    "mapping": ("logistic",),
}


def balanced_predictions(scores: Floats, train_labels: Integers) -> NDArray[np.int64]:
    """Return the classes (..., images) of scores (..., images, classes) less the log shares of training.

    `scores` are logits or log-probabilities of a readout trained on `train_labels` (images,); taking the
    classes' shares off gives the rule that is best for balanced accuracy. A class without a training image is
    never predicted.
    """
    classes = scores.shape[-1]
    share = np.bincount(train_labels, minlength=classes) / len(train_labels)
    with np.errstate(divide="ignore"):
        balanced = np.where(share > 0, scores - np.log(share), -np.inf)
    return np.asarray(balanced.argmax(axis=-1), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class CarriedEvidence:
    """What is known of the loci beside the predictions that carry.

    `read` holds the direct probes' predictions (images,) where they differ; `smaller` those of direct probes
    fitted on a quarter and on half of the training images, (2, images); `refits` the carried predictions
    (refits, images) of readouts fitted without one of as many folds; `pairing` how a locus was carried: by
    pairs of tokens, or of images' vectors.
    """

    read: Mapping[Locus, Integers] = field(default_factory=dict)
    smaller: Mapping[Locus, Integers] = field(default_factory=dict)
    refits: Mapping[Locus, Integers] = field(default_factory=dict)
    pairing: Mapping[Locus, Pairing] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CarriedWaterfall:
    """The waterfall of lifted levels, and what it was lifted from.

    `waterfall` holds the lifted levels and drops, in the same type as the plain one. `carried` and `read` hold
    each locus's own A, `fit_spread` the standard deviation of A over refits. `hard_to_read` are loci with
    their gap A_carried - A_read where it is at least delta and more than noise; `sample_limited` those whose
    gap falls from a quarter over half to all training images. `reference_below` is the gap A(v) - A(R) where R
    is significantly below the encoder: then vision is not assessed. `testable` is False below six groups.
    """

    waterfall: Waterfall
    carried: Mapping[Locus, float]
    read: Mapping[Locus, float]
    fit_spread: Mapping[Locus, float]
    hard_to_read: Mapping[Locus, Gap]
    sample_limited: tuple[Locus, ...]
    pairing: Mapping[Locus, Pairing]
    reference_below: Gap | None
    testable: bool


def carried_waterfall(
    predictions: LocusPredictions,
    evidence: CarriedEvidence | None = None,
    *,
    headline: Literal["scores", "generated"] = "scores",
    delta: float = DELTA,
    draws: int = DRAWS,
    flips: int = DRAWS,
    seed: int = 0,
) -> CarriedWaterfall:
    """Measure the lifted terms.

    A term is significant if its lifted drop is at least `delta` and its Holm-adjusted p below 0.05; with fewer
    than six groups none is, and p and interval are not numbers to go by (1, and from 0 to the whole range).

    Args:
        predictions: what each locus carries, with balanced predictions; R, the answers and their maps as they
            are.
        evidence: see `CarriedEvidence`.
        headline: the answers that the paper's own fourth mode ends at.
        delta: the smallest drop in A that counts.
        draws: of the cluster bootstrap.
        flips: of the groups' signs, where they are not enumerated.
        seed: of both.
    """
    known = evidence or CarriedEvidence()
    measured = _Measured.of(predictions, known, draws=draws, flips=flips, seed=seed)
    below = measured.gap("vision", "reference") if "reference" in measured.level else None
    if below is not None and below.p >= LEVEL:
        below = None
    own = measured.level
    if below is not None:
        measured = measured.without("reference")
    lifted = measured.lifted()
    return CarriedWaterfall(
        waterfall=Waterfall(
            drops=_drops(measured, delta),
            parts=_parts(measured, "answers" if headline == "scores" else "generated"),
            level=lifted,
            points={name: measured.points[name] for name in lifted},
            draws={name: measured.draws[name] for name in lifted},
            images=len(predictions.labels),
            groups=measured.flips.groups,
            delta=delta,
        ),
        carried=own,
        read={name: measured.of_predictions(rows) for name, rows in known.read.items()},
        fit_spread={
            name: float(np.std(rows) * np.sqrt(len(rows) - 1)) for name, rows in measured.refits.items()
        },
        hard_to_read=_hard_to_read(measured, known, delta),
        sample_limited=_sample_limited(measured, known),
        pairing=dict(known.pairing),
        reference_below=below,
        testable=measured.flips.testable,
    )


def judge_carried(
    found: CarriedWaterfall,
    *,
    reference: str | None = None,
    signal: SignalTests | None = None,
    permutation_p: float | None = None,
    rule: Rule = CARRIED,
) -> Diagnosis:
    """Give the verdict on what the loci carry; stages and verdict come from the same lifted levels.

    As `diagnose`, and beyond it: below six groups "undetermined", since nothing can be tested; with an R below
    the encoder vision is not assessed, so never "healthy"; a connector that was carried by images' vectors
    alone, and whose reading still rises with the training images, is "not shown to arrive", not to blame; no
    verdict is "healthy" beside a significant stage.
    """
    if found.reference_below is not None:
        reference = None
    made = diagnose(
        found.waterfall, reference=reference, signal=signal, permutation_p=permutation_p, rule=rule
    )
    if made.verdict == "no_signal":
        return made
    if not found.testable:
        groups = found.waterfall.groups
        return replace(made, verdict="undetermined", reason=f"with {groups} groups nothing can be tested")
    if _not_shown_to_arrive(found) and "connector" in (made.verdict, *made.stages):
        stages = tuple(stage for stage in made.stages if stage != "connector")
        reason = "the class is not shown to arrive behind the connector; more training images may show it"
        return replace(made, verdict="undetermined", stages=stages, reason=reason)
    if made.verdict == "healthy" and made.stages:
        return replace(
            made, verdict="undetermined", reason="there is a loss, but the draws do not agree on it"
        )
    if made.verdict == "undetermined" and found.reference_below is not None and not made.stages:
        reason = "no later stage loses the class, and the reference is too weak to assess vision"
        return replace(made, reason=reason)
    return made


def _not_shown_to_arrive(found: CarriedWaterfall) -> bool:
    return found.pairing.get("connector", "image") == "image" and "connector" in found.sample_limited


@dataclass(frozen=True, eq=False)
class _Right:
    """How right one locus is: balanced accuracy summed by group (groups,) and of every flip (flips,).

    With too few groups there is no flip.
    """

    sums: NDArray[np.float64]
    flipped: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Measured:
    """Everything of one set of flips; differences are in A, `factor` turns balanced accuracy into it."""

    predictions: LocusPredictions
    flips: SignFlips
    factor: float
    right: Mapping[Locus, _Right]
    level: Mapping[Locus, float]
    points: Mapping[Locus, float]
    refits: Mapping[Locus, NDArray[np.float64]]  # A of every refit, (refits,)
    draws: Mapping[Locus, NDArray[np.float64]]

    @classmethod
    def of(
        cls, predictions: LocusPredictions, known: CarriedEvidence, *, draws: int, flips: int, seed: int
    ) -> _Measured:
        made = predictions.by_locus()
        labels, classes = predictions.labels, predictions.classes
        names, arrays = tuple(made), np.stack(list(made.values()))
        levels = chance_corrected(balanced_accuracy(labels, arrays), classes)
        plan = SignFlips.of(predictions.groups, labels, flips=flips, seed=seed)
        refits = {
            name: np.asarray(chance_corrected(balanced_accuracy(labels, rows), classes), np.float64)
            for name, rows in known.refits.items()
        }
        bootstrap = ClusterBootstrap.of(predictions.groups, draws=draws, seed=seed)
        sampled = chance_corrected(bootstrap.balanced_accuracy(labels, arrays), classes).T
        return cls(
            predictions=predictions,
            flips=plan,
            factor=classes / (classes - 1),
            right=dict(zip(names, _rights(plan, arrays == labels), strict=True)),
            level=dict(zip(names, map(float, levels), strict=True)),
            points=dict(zip(names, (100 * accuracy(labels, arrays)).tolist(), strict=True)),
            refits=refits,
            draws=_with_fits(dict(zip(names, sampled, strict=True)), refits, seed),
        )

    def without(self, locus: Locus) -> _Measured:
        """Return the same without one locus on the path."""
        return replace(self, level={name: value for name, value in self.level.items() if name != locus})

    def path(self) -> tuple[Locus, ...]:
        return tuple(name for name in PATH if name in self.level)

    def lifted(self) -> dict[Locus, float]:
        """Return the levels, those on the path raised to the best at this or any later locus."""
        path = self.path()
        own = np.array([self.level[name] for name in path])
        best = np.maximum.accumulate(own[::-1])[::-1]
        return {**self.level, **dict(zip(path, map(float, best), strict=True))}

    def of_predictions(self, rows: Integers) -> float:
        labels, classes = self.predictions.labels, self.predictions.classes
        return float(chance_corrected(balanced_accuracy(labels, rows), classes))

    def fit_variance(self, first: Locus, second: Locus) -> float:
        """Return the variance of A(first) - A(second) over refits: the delete-a-group jackknife's."""
        change = self.refits.get(first, _ZERO) - self.refits.get(second, _ZERO)
        return float((change.size - 1) * change.var())

    def gap(self, first: Locus, second: Locus) -> Gap:
        """Return the plain difference of two loci."""
        return _gap(self.test(first, second), self.points[first] - self.points[second])

    def test(self, first: Locus, second: Locus) -> FlipTest:
        """Test the plain difference of two loci, in A."""
        return self.difference(self.right[first], self.right[second], self.fit_variance(first, second))

    def difference(self, first: _Right, second: _Right, fit_variance: float = 0.0) -> FlipTest:
        """Test how much more often the first is right than the second, in A, as is `fit_variance`."""
        found = self.flips.summarise(
            (first.sums - second.sums)[:, None],
            (first.flipped - second.flipped)[:, None],
            fit_variance=np.array([fit_variance / self.factor**2]),
        )[0]
        low, high = (None if bound is None else bound * self.factor for bound in (found.low, found.high))
        spread = found.spread * self.factor
        return replace(found, value=found.value * self.factor, low=low, high=high, spread=spread)

    def p(self, starts: tuple[Locus, ...], ends: tuple[Locus, ...]) -> float:
        """Test that the best of `starts` is above every one of `ends`; 1 where nothing can be tested."""
        if not self.flips.testable:
            return 1.0
        found = []
        for end in ends:
            flipped = np.max(
                [self.right[start].flipped - self.right[end].flipped for start in starts], axis=0
            )
            value = max((self.level[start] - self.level[end]) / self.factor for start in starts)
            fit = max(self.fit_variance(start, end) for start in starts) ** 0.5 / self.factor
            found.append(float(reached(np.array([value]), flipped[:, None], np.array([fit]))[0]))
        return max(found)


def _rights(flips: SignFlips, right: NDArray[np.bool_]) -> list[_Right]:
    """Sum and flip rows of right answers (rows, images)."""
    sums = flips.group_sums(right.astype(np.float64))
    flipped = flips.times(sums) if flips.testable else np.zeros((0, len(right)))
    return [_Right(*columns) for columns in zip(sums.T, flipped.T, strict=True)]


def _with_fits(
    draws: dict[Locus, NDArray[np.float64]], refits: Mapping[Locus, NDArray[np.float64]], seed: int
) -> dict[Locus, NDArray[np.float64]]:
    """Add to every draw the error of one refit, the same one at every locus, at the jackknife's size."""
    if not refits:
        return draws
    count = len(next(iter(refits.values())))
    chosen = np.random.default_rng([seed, 1]).integers(count, size=len(next(iter(draws.values()))))
    added = {name: np.sqrt(count - 1) * (rows - rows.mean())[chosen] for name, rows in refits.items()}
    return {name: values + added.get(name, 0.0) for name, values in draws.items()}


def _terms(path: tuple[Locus, ...]) -> dict[Mode, tuple[tuple[Locus, ...], tuple[Locus, ...]]]:
    """Return for each mode that can be assessed where it starts, and everything after it."""
    terms: dict[Mode, tuple[tuple[Locus, ...], tuple[Locus, ...]]] = {}
    for mode, wanted in _STARTS.items():
        starts = tuple(name for name in wanted if name in path)
        if wanted[0] in path:
            terms[mode] = starts, path[path.index(starts[-1]) + 1 :]
    return terms


def _drops(measured: _Measured, delta: float) -> tuple[Drop, ...]:
    terms = _terms(measured.path())
    p_values = [measured.p(*loci) for loci in terms.values()]
    adjusted = holm(p_values)
    draws = np.stack([_lifted_drop(measured.draws, *loci) for loci in terms.values()])
    ties = draws == draws.max(axis=0)
    largest = (ties / ties.sum(axis=0)).mean(axis=1)
    needed = falls._noncentrality(len(terms), 0.8, LEVEL)
    made = []
    for (mode, (starts, ends)), p, p_adjusted, share in zip(
        terms.items(), p_values, adjusted, largest, strict=True
    ):
        gap, spread = _lifted_gap(measured, starts, ends, p)
        significant = measured.flips.testable and gap.value >= delta and bool(p_adjusted < LEVEL)
        made.append(Drop(mode, gap, float(p_adjusted), significant, float(share), needed * spread))
    return tuple(made)


def _lifted_drop(
    levels: Mapping[Locus, Floats], starts: tuple[Locus, ...], ends: tuple[Locus, ...]
) -> NDArray[np.float64]:
    top = np.max([levels[name] for name in starts], axis=0)
    return np.maximum(0.0, top - np.max([levels[name] for name in ends], axis=0))


def _lifted_gap(
    measured: _Measured, starts: tuple[Locus, ...], ends: tuple[Locus, ...], p: float
) -> tuple[Gap, float]:
    start = max(starts, key=measured.level.__getitem__)
    end = max(ends, key=measured.level.__getitem__)
    gaps = {name: measured.gap(start, name) for name in ends}
    tested = measured.test(start, end)
    # Where no image tells two loci apart there is no spread; one more image could have.
    spread = float(np.hypot(tested.spread, measured.factor / len(measured.predictions.labels)))
    value = max(0.0, measured.level[start] - measured.level[end])
    low = max(0.0, min(gap.low for gap in gaps.values()))
    high = max(value, gaps[end].high)
    # Lifting is of A; points follow the loci that it chose.
    points = measured.points[start] - measured.points[end] if value > 0 else 0.0
    return Gap(value, min(low, value), high, p, points), spread


def _gap(tested: FlipTest, points: float) -> Gap:
    if tested.low is None or tested.high is None or tested.p is None:
        return Gap(tested.value, -_RANGE, _RANGE, 1.0, points)
    return Gap(tested.value, tested.low, tested.high, tested.p, points)


def _parts(measured: _Measured, final: Locus) -> dict[str, Gap]:
    pairs = falls._PARTS | {"paper_mapping": ("last_token", final)}
    return {name: measured.gap(*pair) for name, pair in pairs.items() if set(pair) <= set(measured.level)}


def _hard_to_read(measured: _Measured, known: CarriedEvidence, delta: float) -> dict[Locus, Gap]:
    labels = measured.predictions.labels
    found = {}
    for name, rows in known.read.items():
        points = measured.points[name] - 100 * float(np.mean(rows == labels))
        (read,) = _rights(measured.flips, (rows == labels)[None])
        gap = _gap(measured.difference(measured.right[name], read), points)
        if gap.value >= delta and gap.p < LEVEL:
            found[name] = gap
    return found


def _sample_limited(measured: _Measured, known: CarriedEvidence) -> tuple[Locus, ...]:
    """Return the loci whose direct reading still rises from a quarter over half to all training images."""
    found = []
    for name, rows in known.smaller.items():
        read = known.read.get(name, measured.predictions.by_locus()[name])
        curve = [*map(measured.of_predictions, rows), measured.of_predictions(read)]
        labels = measured.predictions.labels
        least, most = _rights(measured.flips, np.stack([rows[0], read]) == labels)
        tested = measured.difference(most, least)
        rising = all(before < after for before, after in pairwise(curve))
        if rising and tested.p is not None and tested.p < LEVEL:
            found.append(name)
    return tuple(found)
