"""Fit every probe at every watched site, and test each against its permutation null."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from harness.data.dataset import DataError
from harness.passes.context import Run
from harness.watch.fitting import (
    PREDICTED,
    SplitRows,
    StoredFeatures,
    equal_widths,
    fit_readout,
    probe_line,
)
from leaderboard.record.record import PermutationPart
from leaderboard.record.samples import MAIN_READOUT, ProbeLine
from leaderboard.scoring.probes import SiteKey
from probes.sites import Site
from probes.stats.permutation import PermutationNull, permutation_null
from tasks.sources import SPLITS, SplitName

PERMUTATION_DRAWS = 200
BAND = (0.05, 0.5, 0.95)  # quantiles of a site's null that a record holds


@dataclass(frozen=True)
class FittedProbes:
    """Every probe's predictions, and what permuted training labels reach.

    `permutation_p` holds, by `scoring.SiteKey`, the probability under permuted labels of a balanced
    accuracy as high as the one observed at that site.
    """

    lines: tuple[ProbeLine, ...]
    permutation_p: dict[SiteKey, float]
    permutation: PermutationPart


@dataclass(frozen=True)
class SiteNull:
    """One site's balanced accuracy by the ridge classifier, and that of every draw (draws,) of the null."""

    observed: float
    draws: np.ndarray


def fit_probes(run: Run) -> FittedProbes:
    """Fit every readout at every site on train, choose on validation, predict validation and test.

    Raises:
        DataError: of a whole split, no image could be shown to the model.
    """
    sites, readouts = run.engine.sites, run.options.readouts
    stored = StoredFeatures.of(run.store, run.images.observed, sites[0])
    splits = {name: _split(stored, name) for name in SPLITS}
    labels, device = {name: split.labels for name, split in splits.items()}, run.engine.description.device
    lines: dict[tuple[str, Site], list[ProbeLine]] = {(r, site): [] for r in readouts for site in sites}
    nulls: dict[Site, SiteNull] = {}
    p_values: dict[SiteKey, float] = {}
    with run.console.step("probes", len(sites) * (len(readouts) + 1), unit="fits") as advance:
        for chunk in equal_widths(sites, len(stored.images)):
            features = {name: stored.read(chunk, split) for name, split in splits.items()}
            for readout in readouts:
                found = fit_readout(readout, features, labels, run.classes, device=device)
                for place, site in enumerate(chunk):
                    lines[readout, site] += [
                        probe_line(site, readout, seed, name, scores[place], splits[name].seen)
                        for seed, by_split in found.items()
                        for name, scores in by_split.items()
                    ]
                advance(len(chunk))
            null = _permute(run, features, splits)
            # The permutations depend on the seed alone, so draws of different chunks belong together.
            nulls |= zip(chunk, map(SiteNull, null.observed, null.null.T), strict=True)
            p_values |= {(MAIN_READOUT, s.name, s.pool): float(p) for s, p in zip(chunk, null.p, strict=True)}
            advance(len(chunk))
    return FittedProbes(tuple(chain.from_iterable(lines.values())), p_values, permutation_part(nulls))


def _split(stored: StoredFeatures, name: SplitName) -> SplitRows:
    """Return a split; images that the model could not be shown stay in validation and test only."""
    whole = stored.split(name)
    split = whole if name in PREDICTED else whole.of_seen()
    if not len(split.rows):
        raise DataError(
            f"no {name} image could be shown to the model, so no probe can be fitted; see the log"
        )
    return split


def _permute(
    run: Run, features: Mapping[SplitName, np.ndarray], splits: Mapping[SplitName, SplitRows]
) -> PermutationNull:
    return permutation_null(
        list(features["train"]),
        splits["train"].labels,
        splits["train"].groups,
        list(features["test"]),
        splits["test"].labels,
        run.classes,
        draws=PERMUTATION_DRAWS,
        seed=run.options.seed,
    )


def permutation_part(nulls: Mapping[Site, SiteNull]) -> PermutationPart:
    """Summarise the sites' nulls; in all of them the same draw dealt out the same labels."""
    highest = np.max([null.draws for null in nulls.values()], axis=0)
    vision = [null for site, null in nulls.items() if site.module == "vision"]
    vision_p = None
    if vision:
        best = max(null.observed for null in vision)
        reached = np.max([null.draws for null in vision], axis=0) >= best
        vision_p = float((1 + reached.sum()) / (1 + len(reached)))
    return PermutationPart(
        draws=PERMUTATION_DRAWS,
        highest=float(np.quantile(highest, 0.95)),
        vision_p=vision_p,
        bands={site.key: _band(null.draws) for site, null in nulls.items()},
    )


def _band(draws: np.ndarray) -> tuple[float, float, float]:
    low, middle, high = np.quantile(draws, BAND)
    return float(low), float(middle), float(high)
