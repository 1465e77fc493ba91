"""Does the connector change what can be read? Computed from the probes' lines alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from leaderboard.record.samples import ProbeLine
from leaderboard.scoring.answers_and_probes import MAIN_READOUT
from probes.stats.bootstrap import ClusterBootstrap
from probes.stats.equivalence import MARGIN, equivalent
from probes.stats.metrics import balanced_accuracy, chance_corrected

DRAWS = 2_000


def connector_input(lines: Iterable[ProbeLine]) -> tuple[str, str] | None:
    """Return site and pool of what the connector reads (`v_used`): regrouped where it merges tokens.

    None where no line belongs to a consumed vision layer.
    """
    pools = {line.pool: line.site for line in lines if line.consumed and line.readout == MAIN_READOUT}
    pool = "regrouped" if "regrouped" in pools else "mean"
    return (pools[pool], pool) if pool in pools else None


def connector_inert(
    lines: Sequence[ProbeLine],
    labels: NDArray[np.integer],
    groups: Sequence[str],
    classes: int,
    *,
    margin: float = MARGIN,
    seed: int = 0,
) -> bool | None:
    """Tell whether the probes on the connector's input and output are equal within +-margin of A.

    True and False are concluded by tests (`probes.stats.equivalence.equivalent`); None where the test images
    allow neither, or where one of the two was not probed. `labels` (images,) and `groups` are those of the
    test images.
    """
    source = connector_input(lines)
    chosen = {
        (line.site, line.pool): line.predictions
        for line in lines
        if (line.readout, line.split) == (MAIN_READOUT, "test")
    }
    output = next((key for key in chosen if key[0].startswith("connector.")), None)
    if source is None or source not in chosen or output is None:
        return None
    both = np.array([chosen[source], chosen[output]])
    bootstrap = ClusterBootstrap.of(groups, draws=DRAWS, seed=seed)
    sampled = chance_corrected(bootstrap.balanced_accuracy(labels, both), classes)
    observed = chance_corrected(balanced_accuracy(labels, both), classes)
    unit = classes / (classes - 1) / bootstrap.groups
    return equivalent(sampled[:, 0] - sampled[:, 1], float(observed[0] - observed[1]), unit, margin=margin)
