"""The sign flip over groups: paired differences of (balanced) accuracy, tested and bounded by whole groups.

A difference D of (balanced) accuracy on the same test images is a sum over images: each image has a weight
(1 / n, or 1 / (classes n_k) for an image of a class with n_k images), and adds that weight times
(right by the first - right by the second). So D is also a sum over groups (patients, near-duplicates). If
the two are equally good, a group's sum is as likely to be +s as -s: the test flips the signs of whole
groups (Fisher 1935; Hoeffding 1952; for clusters Canay, Romano and Shaikh 2017). Images within a group may
depend on each other in any way. It is exact where the sums are symmetric about 0, whatever their sizes, so
also for few groups, where a bootstrap is too bold; for single images and equal classes it is McNemar's.

Below `FEWEST_GROUPS` groups nothing can be tested: the smallest p is 2^-groups, above any level in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from probes.stats.metrics import group_index, holm

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

FEWEST_GROUPS = 6
FLIPS = 10_000
EXACT_GROUPS = 13  # 2^13 flips are fewer than FLIPS

_ROUNDING = 1e-10  # sums that are equal may differ by this much
_BLOCK = 2**22  # signs held at a time


class TooFewGroupsError(ValueError):
    """A test was asked of fewer than `FEWEST_GROUPS` groups; say that nothing can be tested."""


@dataclass(frozen=True)
class FlipTest:
    """A paired difference: its 95% interval, and p for 0 or less and, two-sided, for 0.

    All three p and bounds are None where there are fewer than `FEWEST_GROUPS` groups. `spread` is the
    standard error: that of flipped signs, and of refits where their variance was given.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    p_two_sided: float | None
    spread: float

    @property
    def testable(self) -> bool:
        """Whether there were groups enough to say anything."""
        return self.p is not None


@dataclass(frozen=True, eq=False)
class SignFlips:
    """One set of sign flips of the groups of some images, the same for every term that is tested on it.

    `index` (images,) is each image's group; `weight` (images,) each image's share of the difference, which
    sums to 1; `signs` (flips, groups) holds +1 and -1 as bytes, the unflipped row left out.
    """

    index: Integers = field(repr=False)
    weight: NDArray[np.float64] = field(repr=False)
    groups: int
    signs: NDArray[np.int8] = field(repr=False)
    exact: bool

    @classmethod
    def of(
        cls,
        groups: Sequence[object] | NDArray[np.generic],
        labels: Integers | None = None,
        *,
        flips: int = FLIPS,
        seed: int = 0,
    ) -> SignFlips:
        """Plan the flips: every one of 2^groups for up to `EXACT_GROUPS` groups, else `flips` seeded ones.

        Args:
            groups: (images,), patient or near-duplicate group of each image.
            labels: (images,), class indices, for differences of balanced accuracy; None for plain accuracy.
            flips: number of random flips.
            seed: of the random flips.
        """
        if flips < 1:
            raise ValueError(f"sign flips: {flips} flips: needs at least 1")
        index, count = group_index(groups)
        weight = image_weights(len(index), labels)
        exact = count <= EXACT_GROUPS
        return cls(index, weight, count, _every_flip(count) if exact else _some(count, flips, seed), exact)

    @property
    def testable(self) -> bool:
        """Whether there are groups enough to test anything."""
        return self.groups >= FEWEST_GROUPS

    def group_sums(self, differences: Floats) -> NDArray[np.float64]:
        """Return the weighted sums (groups, terms) of differences per image (terms, images)."""
        if differences.ndim != 2 or differences.shape[1] != len(self.index):
            raise ValueError(
                f"differences of shape {differences.shape} for {len(self.index)} images: expected (terms, images)"
            )
        sums = [np.bincount(self.index, self.weight * row, self.groups) for row in differences]
        return np.stack(sums, axis=1) if sums else np.zeros((self.groups, 0))

    def flipped(self, differences: Floats) -> NDArray[np.float64]:
        """Return every flip's value (flips, terms) of differences per image (terms, images).

        Raises:
            TooFewGroupsError: there are fewer than `FEWEST_GROUPS` groups.
        """
        self._ask()
        return self.times(self.group_sums(differences))

    def test(
        self,
        differences: Floats,
        *,
        fit_variance: Floats | None = None,
        level: float = 0.95,
    ) -> list[FlipTest]:
        """Test every term, all on the same flips.

        `p` is the share of flips, the unflipped one among them, that reach the observed value. The interval
        holds the differences that the same test does not reject: with c_g the weight of group g, D - theta is
        tested by flipping S_g - theta c_g, and each flip rejects from its own theta on, the mean difference
        over the groups that it flips, so the bounds are quantiles of these means (Hartigan 1969). Added to it,
        in quadrature: the spread of refits, and the one image more that would have told the two apart.

        Where probes were fitted, the variance of the difference between refits belongs to the doubt: every
        flip then counts by the probability that it and a normal error reach the observed value.

        Args:
            differences: (terms, images), right by the first minus right by the second, from -1 to 1.
            fit_variance: (terms,), of each difference between refits; None for fixed predictions.
            level: of the intervals.
        """
        sums = self.group_sums(differences)
        flipped = self.times(sums) if self.testable else np.zeros((0, sums.shape[1]))
        return self.summarise(sums, flipped, fit_variance=fit_variance, level=level)

    def summarise(
        self,
        sums: Floats,
        flipped: Floats,
        *,
        fit_variance: Floats | None = None,
        level: float = 0.95,
    ) -> list[FlipTest]:
        """Test terms whose sums (groups, terms) and flips (flips, terms) are known already; see `test`.

        Both are linear, so those of a difference are the differences of those of its two sides.
        """
        values = sums.sum(axis=0)
        fit = np.zeros(len(values)) if fit_variance is None else np.asarray(fit_variance, np.float64)
        if fit.shape != values.shape or (fit < 0).any():
            raise ValueError(f"variances of refits {fit}: expected one of at least 0 for {len(values)} terms")
        spread = np.sqrt((sums**2).sum(axis=0) + fit)
        if not self.testable:
            pairs = zip(values, spread, strict=True)
            return [FlipTest(float(v), None, None, None, None, float(s)) for v, s in pairs]
        lows, highs = self._bounds(values, flipped, np.sqrt(fit), level)
        one_sided = reached(values, flipped, np.sqrt(fit))
        other_side = reached(-values, -flipped, np.sqrt(fit))
        two_sided = np.minimum(1.0, 2 * np.minimum(one_sided, other_side))
        rows = zip(values, lows, highs, one_sided, two_sided, spread, strict=True)
        return [FlipTest(*map(float, row)) for row in rows]

    @cached_property
    def group_weights(self) -> NDArray[np.float64]:
        """The groups' shares (groups,) of a difference."""
        return np.asarray(np.bincount(self.index, self.weight, self.groups), np.float64)

    @cached_property
    def turned(self) -> NDArray[np.float64]:
        """The weight (flips, 1) of the groups that each flip turns round."""
        return (1 - self.times(self.group_weights[:, None])) / 2

    @property
    def effective_groups(self) -> float:
        """The number of groups, were they of equal weight: 1 / sum of squared weights."""
        return float(1 / (self.group_weights**2).sum())

    def _bounds(
        self, values: Floats, flipped: Floats, fit: Floats, level: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        from scipy.stats import norm

        means = (values - flipped) / 2 / self.turned  # of the groups that a flip turns round
        left = max(int((1 - level) / 2 * (len(means) + 1)), 1) - 1  # so many lie outside on either side
        right = len(means) - 1 - left
        means = np.partition(means, (left, right), axis=0)
        # No image that tells the two apart was seen in so many groups: the next could be one.
        extra = np.hypot(float(norm.ppf((1 + level) / 2)) * fit, 1 / self.effective_groups)
        low = values - np.hypot(np.maximum(values - means[left], 0), extra)
        high = values + np.hypot(np.maximum(means[right] - values, 0), extra)
        return np.maximum(low, -1.0), np.minimum(high, 1.0)

    def times(self, sums: Floats) -> NDArray[np.float64]:
        """Return every flip's total (flips, terms) of sums (groups, terms)."""
        block = max(1, _BLOCK // self.groups)
        parts = [
            self.signs[i : i + block].astype(np.float64) @ sums for i in range(0, len(self.signs), block)
        ]
        return np.concatenate(parts)

    def _ask(self) -> None:
        if not self.testable:
            raise TooFewGroupsError(
                f"{self.groups} groups: below {FEWEST_GROUPS} nothing can be tested, "
                f"since the smallest p is 1/{2**self.groups}"
            )


def image_weights(images: int, labels: Integers | None = None) -> NDArray[np.float64]:
    """Return each image's share (images,) of a difference of accuracy, or of balanced accuracy with `labels`."""
    if labels is None:
        return np.full(images, 1 / images)
    if labels.shape != (images,):
        raise ValueError(f"{labels.shape} labels for {images} images")
    _, of_class, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(sizes) * sizes[of_class]))


def reached(values: Floats, flipped: Floats, fit: Floats) -> NDArray[np.float64]:
    """Return the share of flips (flips, terms), with the unflipped one, that reach the values (terms,).

    `fit` (terms,) are standard deviations of normal errors that are added to every flip.
    """
    from scipy.stats import norm

    hits = np.empty(len(values))
    for term, (value, error) in enumerate(zip(values, fit, strict=True)):
        gap = flipped[:, term] - value
        hits[term] = norm.cdf(gap / error).sum() if error > 0 else (gap >= -_ROUNDING).sum()
    return np.asarray((1 + hits) / (1 + len(flipped)))


def family(tests: Sequence[FlipTest]) -> NDArray[np.float64] | None:
    """Return Holm's one-sided p (tests,) of one family; None where there are too few groups to test."""
    found = [test.p for test in tests if test.p is not None]
    return holm(found) if found and len(found) == len(tests) else None


def _every_flip(groups: int) -> NDArray[np.int8]:
    numbers = np.arange(1, 2**groups)[:, None]  # 0 is the unflipped one
    return (1 - 2 * ((numbers >> np.arange(groups)) & 1)).astype(np.int8)


def _some(groups: int, flips: int, seed: int) -> NDArray[np.int8]:
    rng = np.random.default_rng(seed)
    packed = rng.integers(256, size=(flips, (groups + 7) // 8), dtype=np.uint8)
    signs = np.unpackbits(packed, axis=1, count=groups).view(np.int8)
    signs *= -2
    signs += 1
    # A row that turns nothing round, or everything, is as likely as any other and rare from 14 groups on.
    unturned = (signs == 1).all(axis=1)
    signs[unturned] = -1
    return signs
