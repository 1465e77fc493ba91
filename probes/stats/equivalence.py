"""Whether two loci are equal for all that matters: concluded by tests, never from a lack of proof."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MARGIN = 0.03  # of chance-corrected accuracy A
LEVEL = 0.05

_UNSEEN = 3.0  # the 95% upper bound for the count of an event that was never seen: the rule of three


def equivalent(
    draws: NDArray[np.float64],
    value: float,
    unit: float,
    *,
    margin: float = MARGIN,
    level: float = LEVEL,
) -> bool | None:
    """Test a difference for lying within +-margin, and for lying outside.

    Two one-sided z tests (Schuirmann 1987): True where both reject |difference| >= margin at `level`. False
    where a one-sided test finds the difference beyond either margin. None where the data allow neither.
    The spread is that of the bootstrap draws; as they show none where no image tells the two loci apart,
    the rule of three's bound is added in squares.

    Args:
        draws: (draws,) of the difference, from a paired bootstrap.
        value: the observed difference.
        unit: what one independent image more or less changes, for A: K / (K - 1) / images.
        margin: half the width of the range that counts as equal.
        level: of each one-sided test.
    """
    from scipy.stats import norm

    if margin <= 0 or unit <= 0 or len(draws) == 0:
        raise ValueError(
            f"equivalence: margin {margin}, unit {unit}, {len(draws)} draws; all must be above 0"
        )
    z = float(norm.ppf(1 - level))
    spread = float(np.hypot(np.std(draws), _UNSEEN / z * unit))
    if abs(value) + z * spread < margin:
        return True
    return False if abs(value) - z * spread > margin else None
