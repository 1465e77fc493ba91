"""Score the probes of every site from their lines, and tell whether the connector changes what can be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from leaderboard.record.parts import Interval
from leaderboard.record.record import ProbePart
from leaderboard.record.samples import CLASS_READOUTS, MAIN_READOUT, ProbeLine, SampleLine
from leaderboard.scoring.answers import DRAWS
from probes.stats.bootstrap import ClusterBootstrap, balanced_accuracy_estimate, macro_auroc_estimate
from probes.stats.equivalence import MARGIN, equivalent
from probes.stats.metrics import balanced_accuracy, chance_corrected, proportion_estimate

SiteKey = tuple[str, str, str]  # readout, site, pool


def score_probes(
    lines: Iterable[ProbeLine],
    test: Sequence[SampleLine],
    permutation_p: Mapping[SiteKey, float],
    *,
    seed: int = 0,
) -> tuple[ProbePart, ...]:
    """Score every probe on the test images; a readout's seeds are averaged."""
    labels = np.array([line.label for line in test])
    groups = [line.group for line in test]
    resamples = ClusterBootstrap.of(groups, draws=DRAWS, seed=seed)
    return tuple(
        _probe_part(same, labels, groups, resamples, permutation_p.get(key))
        for key, same in by_site(lines).items()
    )


def by_site(lines: Iterable[ProbeLine]) -> dict[SiteKey, list[ProbeLine]]:
    """Gather the test lines of each readout and site over its seeds, in the order of the lines.

    Lines of other readouts than `CLASS_READOUTS` are passed over.
    """
    found: dict[SiteKey, list[ProbeLine]] = {}
    for line in lines:
        if line.split == "test" and line.readout in CLASS_READOUTS:
            found.setdefault((line.readout, line.site, line.pool), []).append(line)
    return found


def mean_correct(lines: Sequence[ProbeLine], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return, per test image, the share of seeds whose probe was right, shape (images,)."""
    return cast(
        NDArray[np.float64], np.mean([np.array(line.predictions) == labels for line in lines], axis=0)
    )


def _probe_part(
    lines: Sequence[ProbeLine],
    labels: NDArray[np.integer],
    groups: Sequence[str],
    resamples: ClusterBootstrap,
    permutation_p: float | None,
) -> ProbePart:
    first = lines[0]
    # With several seeds the metrics of one probe are not defined image by image, but those of their mean
    # scores are; accuracy stays the mean over seeds, as the paper reports it.
    scores = np.mean([np.array(line.scores) for line in lines], axis=0)
    predicted = np.array(first.predictions) if len(lines) == 1 else scores.argmax(axis=1)
    auroc = macro_auroc_estimate(labels, scores, resamples)
    return ProbePart(
        site=first.site,
        module=first.module,
        layer=first.layer,
        pool=first.pool,
        readout=first.readout,
        seeds=tuple(line.seed for line in lines),
        consumed=first.consumed,
        accuracy=Interval.of(proportion_estimate(mean_correct(lines, labels), groups)),
        balanced_accuracy=Interval.of(balanced_accuracy_estimate(labels, predicted, resamples)),
        auroc=Interval.of(auroc) if auroc else None,  # where all images are of one class
        permutation_p=permutation_p,
    )


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
