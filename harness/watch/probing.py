"""Judge what the layers carry: fit every probe, test it against its permutation null."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from harness.console import Console
from harness.data.dataset import DataError, Sample
from harness.passes.store import RunStore
from harness.plan.options import EvalOptions
from leaderboard.record.record import PermutationPart
from leaderboard.record.samples import MAIN_READOUT, NO_CLASS, ProbeLine
from leaderboard.scoring.probes import SiteKey
from model_adapters.interface import Engine
from probes.sites import Site
from probes.stats.permutation import PermutationNull, permutation_null
from tasks.sources import SPLITS, SplitName
from tasks.spec import TaskSpec

MEMORY_BYTES = 2**30  # of features held at once while probes are fitted
PERMUTATION_DRAWS = 200
BAND = (0.05, 0.5, 0.95)  # quantiles of a site's null that a record holds
SCORE_DECIMALS = 4
PREDICTED: tuple[SplitName, ...] = ("val", "test")


@dataclass(frozen=True)
class Judgement:
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


@dataclass(frozen=True)
class SplitLabels:
    """Where a split's images stand, their classes and their groups."""

    rows: np.ndarray  # (images,) places among all images
    labels: np.ndarray  # (images,) class indices
    groups: np.ndarray  # (images,) group numbers
    seen: np.ndarray  # (images,) False where the model could not be shown the image


def judge(
    store: RunStore,
    engine: Engine,
    images: Sequence[Sample],
    task: TaskSpec,
    options: EvalOptions,
    console: Console,
) -> Judgement:
    """Fit every readout at every site on train, choose on validation, predict validation and test.

    `images` are in the order in which their features were stored: train, validation, test.
    """
    sites, device = engine.sites, engine.description.device
    seen = _seen(store, sites[0], len(images))
    splits = {name: _split(images, name, seen) for name in SPLITS}
    classes = len(task.classes)
    lines: list[ProbeLine] = []
    nulls: dict[Site, SiteNull] = {}
    p_values: dict[SiteKey, float] = {}
    with console.step("probes", len(sites) * (len(options.readouts) + 1), unit="fits") as advance:
        for chunk in _chunks(sites, len(images)):
            features = {name: _load(store, chunk, splits[name]) for name in SPLITS}
            for readout in options.readouts:
                lines += fit_readout(readout, chunk, features, splits, classes, device)
                advance(len(chunk))
            null = _permute(features, splits, classes, options.seed)
            # The permutations depend on the seed alone, so draws of different chunks belong together.
            nulls |= zip(chunk, map(SiteNull, null.observed, null.null.T), strict=True)
            p_values |= {(MAIN_READOUT, s.name, s.pool): float(p) for s, p in zip(chunk, null.p, strict=True)}
            advance(len(chunk))
    order = {(readout, site.key): place for readout in options.readouts for place, site in enumerate(sites)}
    rank = {key: place for place, key in enumerate(order)}
    lines.sort(key=lambda line: rank[(line.readout, f"{line.site}.{line.pool}")])
    return Judgement(tuple(lines), p_values, permutation_part(nulls))


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


def fit_readout(
    readout: str,
    sites: Sequence[Site],
    features: Mapping[SplitName, np.ndarray],
    splits: Mapping[SplitName, SplitLabels],
    classes: int,
    device: str,
) -> list[ProbeLine]:
    """Fit one readout at sites of equal width; features are (sites, images, width) a split.

    Returns a line per site, seed and split (validation, then test).
    """
    train, validation = splits["train"], splits["val"]
    predicted: dict[int, dict[SplitName, np.ndarray]] = {}
    if readout == "linear":
        from probes.fit.linear import fit_linear

        probes = fit_linear(
            features["train"], train.labels, features["val"], validation.labels, classes, device=device
        )
        predicted[0] = {name: probes.predict(features[name]) for name in PREDICTED}
    elif readout == "paper":
        from probes.fit.paper import fit_paper

        fitted = fit_paper(features["train"], train.labels, classes, device=device)
        # Each of the shape (seeds, sites, images, classes).
        scores = {name: fitted.predict(features[name]) for name in PREDICTED}
        for place, seed in enumerate(fitted.seeds):
            predicted[seed] = {name: scores[name][place] for name in PREDICTED}
    else:
        raise ValueError(f"no readout '{readout}'")
    return [
        _line(site, readout, seed, name, scores[name][place], splits[name].seen)
        for place, site in enumerate(sites)
        for seed, scores in predicted.items()
        for name in PREDICTED
    ]


def _line(
    site: Site, readout: str, seed: int, split: SplitName, scores: np.ndarray, seen: np.ndarray
) -> ProbeLine:
    # Rounded before the prediction is taken, so that predictions follow from the scores that are filed.
    # An image that the model could not be shown gets no class and the same score for every class.
    rounded = np.where(seen[:, None], np.round(scores, SCORE_DECIMALS), 0.0)
    return ProbeLine(
        site=site.name,
        module=site.module,
        layer=site.layer,
        pool=site.pool,
        width=site.width,
        consumed=site.consumed,
        readout=readout,
        seed=seed,
        split=split,
        predictions=tuple(np.where(seen, rounded.argmax(axis=1), NO_CLASS).tolist()),
        scores=tuple(map(tuple, rounded.tolist())),
    )


def _permute(
    features: Mapping[SplitName, np.ndarray],
    splits: Mapping[SplitName, SplitLabels],
    classes: int,
    seed: int,
) -> PermutationNull:
    train, test = splits["train"], splits["test"]
    return permutation_null(
        list(features["train"]),
        train.labels,
        train.groups,
        list(features["test"]),
        test.labels,
        classes,
        draws=PERMUTATION_DRAWS,
        seed=seed,
    )


def _seen(store: RunStore, site: Site, images: int) -> np.ndarray:
    """Tell which images the model could be shown; the others have a row of NaN for features."""
    return np.isfinite(store.features(site.key, slice(0, images))).all(axis=1)


def _split(images: Sequence[Sample], name: SplitName, seen: np.ndarray) -> SplitLabels:
    """Return a split; images that the model could not be shown stay in validation and test only."""
    chosen = [i for i, s in enumerate(images) if s.split == name and (name in PREDICTED or seen[i])]
    if not chosen:
        raise DataError(
            f"no {name} image could be shown to the model, so no probe can be fitted; see the log"
        )
    samples = [images[i] for i in chosen]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(s.group for s in samples))}
    return SplitLabels(
        rows=np.array(chosen),
        labels=np.array([s.label for s in samples]),
        groups=np.array([numbers[s.group] for s in samples]),
        seen=seen[chosen],
    )


def _chunks(sites: Sequence[Site], images: int) -> Iterator[tuple[Site, ...]]:
    """Yield sites of equal width, as many at once as `MEMORY_BYTES` of features allow."""
    for width, same in groupby(sorted(sites, key=lambda s: s.width), key=lambda s: s.width):
        group = tuple(same)
        size = max(1, MEMORY_BYTES // (4 * width * images))
        for first in range(0, len(group), size):
            yield group[first : first + size]


def _load(store: RunStore, sites: Sequence[Site], split: SplitLabels) -> np.ndarray:
    """Return features of shape (sites, images, width); zeros for an image that was not shown."""
    first, last = int(split.rows[0]), int(split.rows[-1]) + 1
    stacked = np.stack([store.features(site.key, slice(first, last))[split.rows - first] for site in sites])
    stacked[:, ~split.seen] = 0.0
    return stacked
