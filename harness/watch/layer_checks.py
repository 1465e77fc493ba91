"""What is reported beside the probes: how alike the connector's two sides are, and whether widths matter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.dataset import Sample
from harness.passes.store import RunStore
from leaderboard.record.checks import ProjectionPart, SimilarityPart
from leaderboard.record.samples import MAIN_READOUT, NO_CLASS, ProbeLine
from leaderboard.scoring.probes import connector_inert, connector_input
from probes.sites import Site
from probes.stats.equivalence import MARGIN
from probes.stats.metrics import balanced_accuracy
from probes.stats.similarity import NEIGHBOURS, linear_cka, neighbour_overlap
from tasks.sources import SplitName
from tasks.subset import select

SIMILARITY_IMAGES = 1000

_MEMORY_BYTES = 2**29  # of projected features held at once while probes are fitted


def connector_similarity(
    store: RunStore,
    images: Sequence[Sample],
    lines: Sequence[ProbeLine],
    classes: int,
    *,
    seed: int = 0,
) -> SimilarityPart | None:
    """Compare what the connector reads with what it gives, on at most `SIMILARITY_IMAGES` test images.

    None where there is no linear probe of both, or there are too few images to compare.

    Args:
        store: with the features of `images`.
        images: in the order in which their features were stored.
        lines: the probes' lines.
        classes: number of classes.
        seed: of the choice of images, and of the bootstrap.
    """
    source = connector_input(lines)
    output = next(((line.site, line.pool) for line in lines if line.module == "connector"), None)
    if source is None or output is None:
        return None
    keys = (".".join(source), ".".join(output))
    both = [store.features(key, slice(0, len(images))) for key in keys]
    rows = [
        row for row, sample in enumerate(images) if sample.split == "test" and np.isfinite(both[0][row]).all()
    ]
    if len(rows) <= NEIGHBOURS:
        return None
    size = min(SIMILARITY_IMAGES, len(rows))
    chosen = select([images[r].id for r in rows], [images[r].label for r in rows], size, seed)
    first, second = (layer[np.array(rows)[list(chosen)]] for layer in both)
    test = [sample for sample in images if sample.split == "test"]
    return SimilarityPart(
        sites=keys,
        images=size,
        cka=_defined(linear_cka(first, second)),
        cka_debiased=_defined(linear_cka(first, second, debiased=True)),
        knn_overlap=neighbour_overlap(first, second),
        knn_chance=NEIGHBOURS / (size - 1),
        neighbours=NEIGHBOURS,
        connector_inert=connector_inert(
            lines, np.array([s.label for s in test]), [s.group for s in test], classes, seed=seed
        ),
        inert_margin=MARGIN,
    )


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def projection_check(
    store: RunStore,
    sites: Sequence[Site],
    images: Sequence[Sample],
    lines: Sequence[ProbeLine],
    classes: int,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> ProjectionPart | None:
    """Probe every site again on its features projected to one width.

    None where all sites are of one width that is no larger than the projection: there is nothing to check.
    None as well without linear probes to compare with.
    """
    from probes.fit.projection import DIMENSION, needs_projection, projected_predictions

    plain = {
        f"{line.site}.{line.pool}": np.array(line.predictions)
        for line in lines
        if (line.readout, line.split) == (MAIN_READOUT, "test")
    }
    if not plain or not needs_projection([site.width for site in sites], DIMENSION):
        return None
    seen = np.isfinite(store.features(sites[0].key, slice(0, len(images)))).all(axis=1)
    train, validation = (_Rows.of(images, name).only(seen) for name in ("train", "val"))
    test = _Rows.of(images, "test")
    found: dict[str, float] = {}
    for chunk in _chunks(sites, 4 * DIMENSION * len(images)):
        layers = (store.features(site.key, slice(0, len(images))) for site in chunk)
        predicted = projected_predictions(
            (
                (layer[train.rows], layer[validation.rows], np.nan_to_num(layer[test.rows]))
                for layer in layers
            ),
            train.labels,
            validation.labels,
            classes,
            seed=seed,
            device=device,
        )
        shown = np.where(seen[test.rows], predicted, NO_CLASS)
        found |= {s.key: float(balanced_accuracy(test.labels, p)) for s, p in zip(chunk, shown, strict=True)}
    changes = {
        key: value - float(balanced_accuracy(test.labels, plain[key]))
        for key, value in found.items()
        if key in plain
    }
    largest = max(changes, key=lambda key: abs(changes[key]))
    return ProjectionPart(
        dimension=DIMENSION,
        seed=seed,
        balanced_accuracies=found,
        largest_difference=changes[largest],
        largest_at=largest,
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """Where a split's images stand among all images, and their classes, each (images,)."""

    rows: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, images: Sequence[Sample], name: SplitName) -> _Rows:
        rows = [row for row, sample in enumerate(images) if sample.split == name]
        return cls(np.array(rows, dtype=int), np.array([images[row].label for row in rows], dtype=int))

    def only(self, seen: np.ndarray) -> _Rows:
        """Return those of the rows that the model could be shown."""
        kept = seen[self.rows]
        return _Rows(self.rows[kept], self.labels[kept])


def _chunks(sites: Sequence[Site], bytes_per_site: int) -> Iterator[Sequence[Site]]:
    size = max(1, _MEMORY_BYTES // bytes_per_site)
    for first in range(0, len(sites), size):
        yield sites[first : first + size]
