"""Where the class is lost on its way from image to answer: four terms that add up to the whole loss.

Every term is a difference of chance-corrected accuracies A (`probes.stats.metrics.chance_corrected`) on the
same test images: D1 = A(R) - A(vision), D2 = A(vision) - A(connector), D3 = A(connector) - A(G3) and
D4 = A(G3) - A(G0). Terms may be negative, because a later layer can be easier to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from probes.stats.bootstrap import ClusterBootstrap, difference
from probes.stats.metrics import accuracy, balanced_accuracy, chance_corrected, holm
from probes.verdict.mapping import MappedAnswers

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
Mode = Literal["vision", "connector", "comprehension", "mapping"]
Locus = Literal[
    "reference",
    "vision",
    "connector",
    "image_mean",
    "last_token",
    "logistic",
    "without_prior",
    "relabelled",
    "answers",
    "generated",
    "best_vision",
]

MODES: tuple[Mode, ...] = ("vision", "connector", "comprehension", "mapping")
DELTA = 0.05  # the smallest drop in A that counts, set before looking
LEVEL = 0.05  # of the family of terms
DRAWS = 10_000

TERMS: dict[Mode, tuple[Locus, Locus]] = {
    "vision": ("reference", "vision"),
    "connector": ("vision", "connector"),
    "comprehension": ("connector", "logistic"),
    "mapping": ("logistic", "answers"),
}
_PARTS: dict[str, tuple[Locus, Locus]] = {
    "total": ("reference", "answers"),
    "wrong_layer": ("best_vision", "vision"),
    "lost_in_decoder": ("connector", "last_token"),
    "erased": ("connector", "image_mean"),
    "not_routed": ("image_mean", "last_token"),
    "not_used": ("last_token", "logistic"),
    "label_prior": ("without_prior", "answers"),
    "label_permutation": ("relabelled", "answers"),
    "parse_loss": ("answers", "generated"),
}


@dataclass(frozen=True, eq=False)
class LocusPredictions:
    """Predicted classes of the test images at every locus, each (images,); -1 counts as wrong.

    `labels` hold class indices below `classes`; `groups` name each image's patient or near-duplicates.
    `vision` is the probe on the layer that the connector reads, `connector` that on the connector's
    output, `image_mean` and `last_token` those on the decoder's last layer. `answers` are the label
    scores' four answers. What was not measured is None: `reference` (R), `image_mean`, `generated` (the
    parsed free text), and `best_vision` (the vision layer that was best on *validation*, so that the
    best of many layers is not flattered by the test images it is chosen on).
    """

    labels: Integers = field(repr=False)
    groups: NDArray[np.generic] = field(repr=False)
    classes: int
    vision: Integers = field(repr=False)
    connector: Integers = field(repr=False)
    last_token: Integers = field(repr=False)
    answers: MappedAnswers
    reference: Integers | None = field(default=None, repr=False)
    image_mean: Integers | None = field(default=None, repr=False)
    generated: Integers | None = field(default=None, repr=False)
    best_vision: Integers | None = field(default=None, repr=False)

    def by_locus(self) -> dict[Locus, Integers]:
        """Return the predictions that were made, from the reference to the answers.

        Raises:
            ValueError: an array has another number of images than the labels.
        """
        given: dict[Locus, Integers | None] = {
            "reference": self.reference,
            "vision": self.vision,
            "connector": self.connector,
            "image_mean": self.image_mean,
            "last_token": self.last_token,
            "logistic": self.answers.logistic,
            "without_prior": self.answers.without_prior,
            "relabelled": self.answers.relabelled,
            "answers": self.answers.plain,
            "generated": self.generated,
            "best_vision": self.best_vision,
        }
        made = {name: array for name, array in given.items() if array is not None}
        for name, array in made.items():
            if array.shape != self.labels.shape:
                raise ValueError(f"{name}: {array.shape} predictions for {self.labels.shape} labels")
        if self.groups.shape != self.labels.shape:
            raise ValueError(f"groups of shape {self.groups.shape} for {self.labels.shape} labels")
        return made


@dataclass(frozen=True)
class Gap:
    """A difference of A between two loci: its 95% interval and the one-sided p for 0 or less.

    `points` is the same difference in points of plain accuracy.
    """

    value: float
    low: float
    high: float
    p: float
    points: float


@dataclass(frozen=True)
class Drop:
    """One of the four terms. `p_adjusted` is Holm's over all terms that could be assessed.

    `probability_largest` is the share of draws in which no other term is larger, ties shared out.
    `visible_gap` is the true drop that this test set would find significant in 80% of cases, see
    `smallest_visible_gap`.
    """

    mode: Mode
    gap: Gap
    p_adjusted: float
    significant: bool
    probability_largest: float
    visible_gap: float


@dataclass(frozen=True, eq=False)
class Waterfall:
    """The terms, their parts, and the draws from which a verdict is made.

    `drops` are in the order of the stages; without R the first is absent. `parts` holds what is reported
    beside them, where it was measured: "total", "wrong_layer", "lost_in_decoder" (connector to last
    token) and its halves "erased" and "not_routed", "not_used", "label_prior", "label_permutation",
    "parse_loss", and "paper_mapping", the fourth mode of arXiv 2604.08333: A(last token) - A(headline
    answers). `level` and `points` hold A and the accuracy in points of every locus; `draws` the A of
    every draw, (draws,) each, the same resample in the same place.
    """

    drops: tuple[Drop, ...]
    parts: Mapping[str, Gap]
    level: Mapping[Locus, float]
    points: Mapping[Locus, float]
    draws: Mapping[Locus, NDArray[np.float64]] = field(repr=False)
    images: int
    groups: int
    delta: float

    @property
    def stages(self) -> tuple[Mode, ...]:
        """The significant modes, in order."""
        return tuple(drop.mode for drop in self.drops if drop.significant)

    @property
    def smallest_visible_gap(self) -> float:
        """The true drop that would be found in 80% of cases whatever its stage: the largest of the terms'."""
        return max(drop.visible_gap for drop in self.drops)


def waterfall(
    predictions: LocusPredictions,
    *,
    headline: Literal["scores", "generated"] = "scores",
    delta: float = DELTA,
    draws: int = DRAWS,
    seed: int = 0,
) -> Waterfall:
    """Measure the four terms with one set of cluster-bootstrap draws.

    A term is significant if it is at least `delta` and its Holm-adjusted one-sided p for 0 or less is
    below 0.05. `headline` says which answers the paper's own fourth mode ends at.

    Raises:
        ValueError: arrays do not fit together, or the headline is "generated" and was not measured.
    """
    made = predictions.by_locus()
    if headline == "generated" and predictions.generated is None:
        raise ValueError("the headline is the generated text, but no generated predictions were given")
    names, arrays = tuple(made), np.stack(list(made.values()))
    bootstrap = ClusterBootstrap.of(predictions.groups, draws=draws, seed=seed)
    sampled = chance_corrected(bootstrap.balanced_accuracy(predictions.labels, arrays), predictions.classes)
    observed = chance_corrected(balanced_accuracy(predictions.labels, arrays), predictions.classes)
    measured = _Levels(
        level=dict(zip(names, map(float, observed), strict=True)),
        points=dict(zip(names, (100 * accuracy(predictions.labels, arrays)).tolist(), strict=True)),
        draws=dict(zip(names, sampled.T, strict=True)),
        images=len(predictions.labels),
    )
    final: Locus = "answers" if headline == "scores" else "generated"
    pairs = _PARTS | {"paper_mapping": ("last_token", final)}
    return Waterfall(
        drops=_drops(measured, predictions.classes, delta),
        parts={name: measured.gap(*pair) for name, pair in pairs.items() if set(pair) <= set(names)},
        level=measured.level,
        points=measured.points,
        draws=measured.draws,
        images=measured.images,
        groups=bootstrap.groups,
        delta=delta,
    )


def smallest_visible_gap(
    images: int,
    discordance: float,
    classes: int,
    *,
    tests: int = len(MODES),
    power: float = 0.8,
    level: float = LEVEL,
) -> float:
    """Return the true drop in A that a paired test on `images` independent images finds with this power.

    Two predictors differ in correctness on a share psi of the images; the accuracy difference d then has
    the variance (psi - d^2) / n (Connor 1987, Biometrics 43:207). The strictest of Holm's steps asks for
    z = z(1 - level / tests); d / sqrt((psi - d^2) / n) = z + z(power) gives, with c for the right side,
    d = c sqrt(psi / (n + c^2)), and A = d K / (K - 1) for balanced classes. The test alone is meant: a
    true drop of exactly delta passes the threshold on the point estimate only every second time.

    Args:
        images: number of test images n; with groups, the effective number.
        discordance: psi, from 0 to 1.
        classes: K.
        tests: members of the family.
        power: probability of finding it.
        level: of the family, one-sided.
    """
    if images < 1 or not 0 <= discordance <= 1 or classes < 2:
        raise ValueError(f"visible gap of {images} images, discordance {discordance}, {classes} classes")
    c = _noncentrality(tests, power, level)
    return c * float(np.sqrt(discordance / (images + c * c))) * classes / (classes - 1)


def _noncentrality(tests: int, power: float, level: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(1 - level / tests) + norm.ppf(power))


@dataclass(frozen=True, eq=False)
class _Levels:
    level: dict[Locus, float]
    points: dict[Locus, float]
    draws: dict[Locus, NDArray[np.float64]]
    images: int

    def gap(self, first: Locus, second: Locus) -> Gap:
        value = self.level[first] - self.level[second]
        found = difference(self.draws[first] - self.draws[second], value, self.images)
        points = self.points[first] - self.points[second]
        return Gap(value=found.value, low=found.low, high=found.high, p=found.p, points=points)


def _drops(measured: _Levels, classes: int, delta: float) -> tuple[Drop, ...]:
    terms = {mode: pair for mode, pair in TERMS.items() if set(pair) <= set(measured.level)}
    gaps = [measured.gap(*pair) for pair in terms.values()]
    draws = np.stack([measured.draws[first] - measured.draws[second] for first, second in terms.values()])
    adjusted = holm([gap.p for gap in gaps])
    ties = draws == draws.max(axis=0)
    largest = (ties / ties.sum(axis=0)).mean(axis=1)
    # Where no image tells two loci apart the draws show no spread; one more image could have.
    spreads = np.hypot(draws.std(axis=1), classes / (classes - 1) / measured.images)
    needed = _noncentrality(len(terms), 0.8, LEVEL)
    return tuple(
        Drop(
            mode=mode,
            gap=gap,
            p_adjusted=float(p),
            significant=gap.value >= delta and bool(p < LEVEL),
            probability_largest=float(share),
            visible_gap=float(needed * spread),
        )
        for mode, gap, p, share, spread in zip(terms, gaps, adjusted, largest, spreads, strict=True)
    )
