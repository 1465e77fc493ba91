"""The random-weight floor of a model: what its vision encoder's shape alone tells a probe.

It depends on the model and the images, so it is computed once for the two and kept in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from harness.data.dataset import Dataset, Sample
from harness.data.progress import Step, silent
from harness.watch.fitting import fit_readout
from leaderboard.record.checks import LayerFloor
from leaderboard.record.parts import Interval
from leaderboard.scoring.answers import DRAWS
from model_adapters.interface import Engine, ModelError, Query
from probes.stats.bootstrap import ClusterBootstrap, balanced_accuracy_estimate
from tasks.files import cache_folder, json_hash, kept_or_made
from tasks.sources import SPLITS, SplitName
from tasks.subset import select

RANDOM_FLOOR_VERSION = 1  # raised with every change here that can change the floor
IMAGES: dict[SplitName, int] = {"train": 1000, "val": 300, "test": 500}

_LAYERS = TypeAdapter(tuple[LayerFloor, ...])


@dataclass(frozen=True)
class RandomFloor:
    """The floor of every vision layer, or None; `detail` says what was done, or why it was not."""

    layers: tuple[LayerFloor, ...] | None
    detail: str


def load_random_vision(
    engine: Engine, dataset: Dataset, *, seed: int = 0, cache: Path | None = None, progress: Step = silent
) -> RandomFloor:
    """Return the floor from the cache, or measured and then kept there.

    Args:
        engine: a loaded model whose layers can be watched.
        dataset: with images in train, validation and test.
        seed: of the random weights, of the choice of images and of the bootstrap.
        cache: folder, `cache_folder()` by default.
        progress: opens a step of known length, as `Console.step` does.
    """
    images = {name: _chosen(dataset, name, seed) for name in SPLITS}
    detail = "linear probes on {train} training and {test} test images, encoder weights drawn anew".format(
        **{name: len(samples) for name, samples in images.items()}
    )
    key = random_floor_key(engine, dataset, images["train"] + images["val"] + images["test"], seed)
    path = (cache or cache_folder()) / "random_vision" / f"{key}.json"
    try:
        layers = kept_or_made(
            path,
            read=lambda kept: _LAYERS.validate_json(kept.read_bytes()),
            make=lambda: _measure(engine, dataset, images, seed, progress),
            write=lambda found, part: part.write_bytes(_LAYERS.dump_json(found) + b"\n"),
        )
    except ModelError as error:
        return RandomFloor(None, f"not possible: {error}")
    return RandomFloor(layers, detail)


def random_floor_key(engine: Engine, dataset: Dataset, images: Sequence[Sample], seed: int) -> str:
    """Return the hash of everything the floor depends on: model, software, images, classes, seed."""
    about = engine.description
    parts: dict[str, Any] = {
        "version": RANDOM_FLOOR_VERSION,
        "revision": about.revision,
        "architecture": about.architecture,
        "dtype": about.dtype,
        "device": about.device.partition(":")[0],
        "fingerprint": dict(about.fingerprint),
        "data": dataset.fingerprint,
        "classes": len(dataset.task.classes),
        "images": [[s.id, s.split, s.label, s.group, s.pixel_hash] for s in images],
        "draws": DRAWS,
        "seed": seed,
    }
    return json_hash(parts)[:32]


def _chosen(dataset: Dataset, name: SplitName, seed: int) -> tuple[Sample, ...]:
    samples = dataset.split(name)
    size = min(IMAGES[name], len(samples))
    return tuple(
        samples[row] for row in select([s.id for s in samples], [s.label for s in samples], size, seed)
    )


def _measure(
    engine: Engine,
    dataset: Dataset,
    images: dict[SplitName, tuple[Sample, ...]],
    seed: int,
    progress: Step,
) -> tuple[LayerFloor, ...]:
    from model_adapters.inside.vision_only import random_vision_features

    samples = [sample for name in SPLITS for sample in images[name]]
    with progress("random vision weights", len(samples)) as advance:
        queries = [Query(s.id, dataset.read(s), "?", ()) for s in samples]
        features = random_vision_features(engine, queries, seed=seed)
        advance(len(samples))
    sites = [site for site in engine.sites if site.module == "vision" and site.pool == "mean"]
    seen = np.isfinite(features[sites[0].key]).all(axis=1)
    rows = {
        name: np.array([i for i, s in enumerate(samples) if s.split == name and seen[i]]) for name in SPLITS
    }
    if any(len(chosen) == 0 for chosen in rows.values()):
        raise ModelError(f"{engine.description.name}: could be shown no image of a whole split")
    labels = np.array([s.label for s in samples])
    targets = {name: labels[rows[name]] for name in SPLITS}
    resamples = ClusterBootstrap.of([samples[i].group for i in rows["test"]], draws=DRAWS, seed=seed)
    floors = []
    for site in sites:  # widths may differ between layers, and the floor need not be quick
        layers = {name: features[site.key][None, rows[name]] for name in SPLITS}
        scores = fit_readout("linear", layers, targets, len(dataset.task.classes))[0]["test"]
        predicted = scores[0].argmax(axis=1)
        measured = balanced_accuracy_estimate(targets["test"], predicted, resamples)
        floors.append(LayerFloor(site=site.name, balanced_accuracy=Interval.of(measured)))
    return tuple(floors)
