"""What is reported beside the probes: how alike the connector's two sides are, and whether widths matter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.passes.context import Run
from harness.watch.fitting import StoredFeatures, chunks
from leaderboard.record.checks import ProjectionPart, SimilarityPart
from leaderboard.record.samples import MAIN_READOUT, NO_CLASS, ProbeLine
from leaderboard.scoring.probes import connector_inert, connector_input
from probes.stats.equivalence import MARGIN
from probes.stats.metrics import balanced_accuracy
from probes.stats.similarity import NEIGHBOURS, linear_cka, neighbour_overlap
from tasks.subset import select

SIMILARITY_IMAGES = 1000


def connector_similarity(run: Run, lines: Sequence[ProbeLine]) -> SimilarityPart | None:
    """Compare what the connector reads with what it gives, on at most `SIMILARITY_IMAGES` test images.

    `lines` are the probes'. None where there is no linear probe of both, or there are too few images to compare.
    """
    source = connector_input(lines)
    output = next(((line.site, line.pool) for line in lines if line.module == "connector"), None)
    if source is None or output is None:
        return None
    keys = (".".join(source), ".".join(output))
    images, seed = run.images.observed, run.options.seed
    both = [run.store.features(key, slice(0, len(images))) for key in keys]
    seen = np.isfinite(both[0]).all(axis=1)
    rows = [row for row, sample in enumerate(images) if sample.split == "test" and seen[row]]
    if len(rows) <= NEIGHBOURS:
        return None
    size = min(SIMILARITY_IMAGES, len(rows))
    chosen = select([images[r].id for r in rows], [images[r].label for r in rows], size, seed)
    first, second = (layer[np.array(rows)[list(chosen)]] for layer in both)
    test = run.images.test
    return SimilarityPart(
        sites=keys,
        images=size,
        cka=_defined(linear_cka(first, second)),
        cka_debiased=_defined(linear_cka(first, second, debiased=True)),
        knn_overlap=neighbour_overlap(first, second),
        knn_chance=NEIGHBOURS / (size - 1),
        neighbours=NEIGHBOURS,
        connector_inert=connector_inert(
            lines, np.array([s.label for s in test]), [s.group for s in test], run.classes, seed=seed
        ),
        inert_margin=MARGIN,
    )


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def projection_check(run: Run, lines: Sequence[ProbeLine]) -> ProjectionPart | None:
    """Probe every site again on its features projected to one width; `lines` are the probes'.

    None where all sites are of one width that is no larger than the projection: there is nothing to check.
    None as well without linear probes to compare with.
    """
    from probes.fit.projection import DIMENSION, needs_projection, projected_predictions

    plain = {
        f"{line.site}.{line.pool}": np.array(line.predictions)
        for line in lines
        if (line.readout, line.split) == (MAIN_READOUT, "test")
    }
    sites, seed = run.engine.sites, run.options.seed
    if not plain or not needs_projection([site.width for site in sites], DIMENSION):
        return None
    stored = StoredFeatures.of(run.store, run.images.observed, sites[0])
    train, validation = (stored.split(name).of_seen() for name in ("train", "val"))
    test = stored.split("test")
    found: dict[str, float] = {}
    # Each site's room twice, for the whole features that are projected.
    for chunk in chunks(sites, 2 * 4 * DIMENSION * len(stored.images)):
        predicted = projected_predictions(
            (tuple(stored.read((site,), split)[0] for split in (train, validation, test)) for site in chunk),
            train.labels,
            validation.labels,
            run.classes,
            seed=seed,
            device=run.engine.description.device,
        )
        shown = np.where(test.seen, predicted, NO_CLASS)
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
