"""Fit probes to stored features: sites in chunks that memory holds, and the lines that are filed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from harness.data.dataset import Sample
from harness.passes.store import PREFILL, RunStore
from leaderboard.record.samples import NO_CLASS, ProbeLine
from probes.sites import Site
from tasks.sources import SplitName

MEMORY_BYTES = 2**30  # of features held at once while probes are fitted
SCORE_DECIMALS = 4
FITTED: tuple[SplitName, ...] = ("train", "val")
PREDICTED: tuple[SplitName, ...] = ("val", "test")

Examples = tuple[
    np.ndarray, np.ndarray
]  # features (sites, images, width), and what to tell of each (images,)


@dataclass(frozen=True, eq=False)
class SplitRows:
    """A split's images, each array (images,).

    `rows` are their places among all images whose features were stored, `labels` what a probe is to tell,
    `groups` the numbers of their groups; `seen` is False where the model could not be shown the image.
    """

    rows: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    seen: np.ndarray

    def of_seen(self) -> SplitRows:
        """Return the images that the model could be shown."""
        return SplitRows(*(a[self.seen] for a in (self.rows, self.labels, self.groups, self.seen)))


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """The features that one step of a run stored of `images`, in their order.

    `seen` (images,) is False where the model could not be shown the image: its row is NaN.
    """

    store: RunStore
    images: Sequence[Sample]
    seen: np.ndarray
    step: str = PREFILL

    @classmethod
    def of(cls, store: RunStore, images: Sequence[Sample], site: Site, step: str = PREFILL) -> StoredFeatures:
        """Find out by a site of the step which images could be shown."""
        layer = store.features(site.key, slice(0, len(images)), step=step)
        return cls(store, images, np.isfinite(layer).all(axis=1), step)

    def split(self, name: SplitName, labels: np.ndarray | None = None) -> SplitRows:
        """Return a split's images; a probe is to tell their classes, or `labels` (all images,)."""
        rows = np.array([row for row, s in enumerate(self.images) if s.split == name], dtype=int)
        samples = [self.images[row] for row in rows]
        numbers = {group: number for number, group in enumerate(dict.fromkeys(s.group for s in samples))}
        told = np.array([s.label for s in samples], dtype=int) if labels is None else labels[rows]
        return SplitRows(
            rows, told, np.array([numbers[s.group] for s in samples], dtype=int), self.seen[rows]
        )

    def read(self, sites: Sequence[Site], split: SplitRows) -> np.ndarray:
        """Return features (sites, images, width) of sites of one width; zeros for an image that was not shown."""
        first, last = (int(split.rows[0]), int(split.rows[-1]) + 1) if len(split.rows) else (0, 0)
        layers = (self.store.features(site.key, slice(first, last), step=self.step) for site in sites)
        stacked = np.stack([layer[split.rows - first] for layer in layers])
        stacked[:, ~split.seen] = 0.0
        return stacked


def equal_widths(sites: Sequence[Site], images: int) -> Iterator[Sequence[Site]]:
    """Yield sites of equal width, as many at once as `MEMORY_BYTES` of features allow."""
    for width, same in groupby(sorted(sites, key=lambda s: s.width), key=lambda s: s.width):
        yield from chunks(tuple(same), 4 * width * images)


def chunks(sites: Sequence[Site], bytes_a_site: int) -> Iterator[Sequence[Site]]:
    """Yield as many sites at once as `MEMORY_BYTES` allow, one at least."""
    size = max(1, MEMORY_BYTES // bytes_a_site)
    for first in range(0, len(sites), size):
        yield sites[first : first + size]


def fit_readout(
    readout: str,
    features: Mapping[SplitName, np.ndarray],
    labels: Mapping[SplitName, np.ndarray],
    classes: int,
    *,
    device: str = "cpu",
    fitted_on: Mapping[SplitName, np.ndarray] | None = None,
) -> dict[int, dict[SplitName, np.ndarray]]:
    """Fit one readout to sites of equal width on train, choose on validation, predict validation and test.

    Args:
        readout: "linear", or "paper", which chooses nothing and is fitted from several seeds.
        features: by split, (sites, images, width).
        labels: by split, what to tell of each image, (images,).
        classes: number of classes.
        device: where torch computes.
        fitted_on: by split, True for the images (images,) to fit on and to choose by; all by default.

    Returns:
        By seed and split, scores of the shape (sites, images, classes).
    """
    train, validation = ((features[name], labels[name]) for name in FITTED)
    if fitted_on is not None:
        kept = [fitted_on[name] for name in FITTED]
        train, validation = ((x[:, m], y[m]) for (x, y), m in zip((train, validation), kept, strict=True))
    if readout == "linear":
        from probes.fit.linear import fit_linear

        probes = fit_linear(*train, *validation, classes, device=device)
        return {0: {name: probes.predict(features[name]) for name in PREDICTED}}
    if readout == "paper":
        from probes.fit.paper import fit_paper

        fitted = fit_paper(*train, classes, device=device)
        scores = {name: fitted.predict(features[name]) for name in PREDICTED}  # seeds first
        return {
            seed: {name: by_seed[place] for name, by_seed in scores.items()}
            for place, seed in enumerate(fitted.seeds)
        }
    raise ValueError(f"no readout '{readout}'")


def probe_line(
    site: Site, readout: str, seed: int, split: SplitName, scores: np.ndarray, seen: np.ndarray, **more: Any
) -> ProbeLine:
    """Return the line of one probe on one split; `scores` are (images, classes), `seen` (images,)."""
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
        **filed_scores(scores, seen),
        **more,
    )


def filed_scores(scores: np.ndarray, seen: np.ndarray | bool = True) -> dict[str, Any]:
    """Return a line's predictions and scores (images, classes).

    Rounded before the prediction is taken, so that predictions follow from the scores that are filed. An
    image that the model could not be shown gets no class and the same score for every class.
    """
    shown = np.broadcast_to(seen, len(scores))
    rounded = np.where(shown[:, None], np.round(scores, SCORE_DECIMALS), 0.0)
    return {
        "predictions": tuple(np.where(shown, rounded.argmax(axis=1), NO_CLASS).tolist()),
        "scores": tuple(map(tuple, rounded.tolist())),
    }
