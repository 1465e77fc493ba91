"""How small a drop in accuracy a paired comparison on given test images could have shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

POWER = 0.8  # the share of cases in which a drop counts as visible

_TAIL = 1e-9  # of the number of images that tell two runs apart, left out of the sum
_TOLERANCE = 1e-5  # of the drop, as a share


def mcnemar_power(images: int, discordance: float, drop: float, *, level: float = 0.05) -> float:
    """Return how often the exact McNemar test shows a true drop, in the right direction.

    The number of images on which exactly one run is right is binomial (images, discordance); given their
    number k, those that the candidate wins are binomial (k, (discordance - drop) / (2 discordance)). Summed
    over k, without an approximation.

    Args:
        images: number of independent test images.
        discordance: true share of images on which exactly one run is right.
        drop: true accuracy of the baseline minus that of the candidate, at most `discordance`.
        level: two-sided level of the test.

    Raises:
        ValueError: a share lies outside 0 to 1, or the drop is larger than the discordance.
    """
    from scipy.stats import binom

    if images < 1 or not 0 <= drop <= discordance <= 1:
        raise ValueError(f"power on {images} images at discordance {discordance} for a drop of {drop}")
    if discordance == 0:
        return 0.0
    first, last = binom.ppf([_TAIL, 1 - _TAIL], images, discordance).astype(int)
    told_apart = np.arange(first, last + 1)
    critical: NDArray[np.float64] = binom.ppf(level / 2, told_apart, 0.5) - 1  # the largest with p < level
    shown = binom.cdf(critical, told_apart, (discordance - drop) / (2 * discordance))
    return float((binom.pmf(told_apart, images, discordance) * shown).sum())


def smallest_visible_drop(
    images: int, discordance: float, *, level: float = 0.05, power: float = POWER
) -> float | None:
    """Return the smallest true drop that the exact McNemar test shows in `power` of cases, as a share.

    It goes by the discordance that was observed, or by the drop itself where that needs more images to differ.
    None where no drop, however large, would be shown so often: with fewer than six images at level 0.05.

    Args:
        images: number of independent test images.
        discordance: observed share of images on which exactly one run is right.
        level: two-sided level of the test.
        power: probability of showing the drop.
    """

    def shown(drop: float) -> float:
        return mcnemar_power(images, max(discordance, drop), drop, level=level)

    if shown(1.0) < power:
        return None
    hidden, visible = 0.0, 1.0
    while visible - hidden > _TOLERANCE:
        middle = (hidden + visible) / 2
        if shown(middle) >= power:
            visible = middle
        else:
            hidden = middle
    return visible


def smallest_visible_clustered_drop(
    images: int, groups: int, standard_error: float, *, level: float = 0.05, power: float = POWER
) -> float | None:
    """Return the same for images in groups, from the bootstrap's standard error of the difference.

    (z(1 - level / 2) + z(power)) * standard error, and at least what single images could show if the two runs
    agreed on all others, since a standard error of nearly nothing is itself uncertain. None where the groups
    are too few for any difference to be significant (2^(1 - groups) is not below the level).
    """
    from scipy.stats import norm

    least = smallest_visible_drop(images, 0.0, level=level, power=power)
    if least is None or 2.0 ** (1 - groups) >= level:
        return None
    found = max(least, float(norm.ppf(1 - level / 2) + norm.ppf(power)) * standard_error)
    return found if found <= 1 else None
