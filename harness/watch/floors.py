"""Floors and ceiling of a task: the majority class, a linear probe on the pixels, and the reference R.

They depend on the images alone, so they are computed once per task and kept in the cache.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.data.dataset import DataError, Dataset, Sample
from harness.data.progress import Step, silent
from harness.watch.fitting import PREDICTED, fit_readout
from harness.watch.reference_choice import built_in_scores, reference_scores
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.revision import card_revision
from probes.stats.metrics import balanced_accuracy, group_index
from probes.stats.permutation import permutation_null
from tasks.files import cache_folder, json_hash, kept_or_made
from tasks.sources import SPLITS, SplitName

FloorName = Literal["reference", "pixels", "majority"]
Integers = NDArray[np.integer]

FLOORS_VERSION = 1  # raised with every change here that can change a floor
COMPONENTS = 64  # principal components of the pixels
DRAWS = 999  # of permuted test labels, for the reference
PIXEL_DRAWS = 200  # of permuted training labels, for the pixels


@dataclass(frozen=True, eq=False)
class Floor:
    """One predictor that no model's layers enter.

    `scores` are log-probabilities (images, classes) of validation and test, in the order of the data set's
    samples; `permutation_p` the probability of a balanced test accuracy as high without any class in the
    images, None where that means nothing. `detail` says what exactly it is, for the record.
    """

    name: FloorName
    detail: str
    seed: int
    scores: Mapping[SplitName, NDArray[np.float64]] = field(repr=False)
    permutation_p: float | None = None

    def predictions(self, split: SplitName) -> Integers:
        """Return the predicted classes (images,) of validation or test."""
        return self.scores[split].argmax(axis=1)


@dataclass(frozen=True)
class Floors:
    """The floors of one task. `key` identifies everything they depend on."""

    key: str
    reference: Floor
    pixels: Floor
    majority: Floor

    @property
    def named(self) -> tuple[Floor, ...]:
        """All three, the strongest first."""
        return self.reference, self.pixels, self.majority


def load_floors(
    dataset: Dataset,
    *,
    seed: int = 0,
    cache: Path | None = None,
    progress: Step = silent,
    reference: ModelCard | None = None,
    offline: bool = False,
) -> Floors:
    """Return the task's floors, from the cache or computed and then kept there.

    They belong to exactly these images in these splits, whatever the model; two runs at once compute them
    once. A damaged file in the cache is computed anew.

    Args:
        dataset: with images in train, validation and test.
        seed: of the reference and of the permutations.
        cache: folder, `cache_folder()` by default.
        progress: opens a step of known length, as `Console.step` does.
        reference: card of the classifier that is to be R; None for the built-in one.
        offline: never reach for the network for what that classifier starts from.

    Raises:
        DataError: a split has no image.
        ModelError: the classifier of `reference` cannot be trained.
    """
    for name in SPLITS:
        if not dataset.split(name):
            raise DataError(f"{dataset.task.id}: no {name} image, so no reference can be trained or compared")
    key = floors_key(dataset, seed, reference, offline=offline)

    def compute() -> Floors:
        return compute_floors(dataset, key, seed=seed, progress=progress, card=reference, offline=offline)

    path = (cache or cache_folder()) / "floors" / f"{key}.npz"
    return kept_or_made(path, read=partial(_read, key), make=compute, write=_write)


def floors_key(dataset: Dataset, seed: int, chosen: ModelCard | None = None, *, offline: bool = False) -> str:
    """Return the hash of everything the floors depend on: images, splits, groups, recipe, versions, seed."""
    import sklearn
    import torch

    from model_adapters.engines.classifier import reference

    parts: dict[str, Any] = {
        "version": FLOORS_VERSION,
        # Under the name that the class had when the first floors were filed.
        "recipe": [reference.RECIPE_VERSION, repr(reference.RECIPE).replace("ReferenceRecipe(", "Recipe(")],
        "seed": seed,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "fingerprint": dataset.fingerprint,
        "classes": len(dataset.task.classes),
        "samples": [[s.id, s.split, s.label, s.group, s.pixel_hash] for s in dataset.samples],
    }
    if chosen is not None:
        parts["reference"] = [chosen.name, card_revision(chosen, offline=offline), version("transformers")]
    return json_hash(parts)[:32]


def compute_floors(
    dataset: Dataset,
    key: str,
    *,
    seed: int = 0,
    progress: Step = silent,
    card: ModelCard | None = None,
    offline: bool = False,
) -> Floors:
    """Compute the floors; see `load_floors`."""
    from model_adapters.engines.classifier import reference

    splits = {name: dataset.split(name) for name in SPLITS}
    labels = {name: np.array([s.label for s in samples]) for name, samples in splits.items()}
    images: dict[SplitName, NDArray[np.uint8]] = {}
    with progress("pictures for the reference", len(dataset.samples)) as advance:

        def pixels(sample: Sample) -> NDArray[np.uint8]:
            advance(1)
            return reference.to_reference_pixels(dataset.read(sample))

        for name, samples in splits.items():
            images[name] = np.stack([pixels(sample) for sample in samples])
    classes = len(dataset.task.classes)
    groups = {name: [s.group for s in samples] for name, samples in splits.items()}
    scores: Mapping[SplitName, NDArray[np.float64]]
    if card is not None:
        detail = card.title or card.name
        scores = reference_scores(card, dataset, seed=seed, progress=progress, offline=offline)
    else:
        detail = reference.NAME
        with progress("reference", 1, unit="fits") as advance:
            scores = built_in_scores(images, labels, classes, seed=seed)
            advance(1)
    p = fixed_predictions_p(scores["test"].argmax(axis=1), labels["test"], groups["test"], seed=seed)
    return Floors(
        key=key,
        reference=Floor("reference", detail, seed, scores, p),
        pixels=_pixels(images, labels, groups["train"], classes, seed),
        majority=_majority(labels, classes, seed),
    )


def fixed_predictions_p(
    predicted: Integers,
    labels: Integers,
    groups: Sequence[object] | NDArray[np.generic],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> float:
    """Return the probability of a balanced accuracy as high under test labels permuted by whole groups.

    The predictor never saw a test label, so without any class in the images every deal of the groups'
    labels is as likely as the one observed. As in `probes.stats.permutation`, a group carries the commonest label
    of its images, also in the observed value, and 1 is added to both counts (Phipson and Smyth 2010). It is
    exact for fixed predictions and needs no refitting.
    """
    index, count = group_index(groups)
    votes = np.zeros((count, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(votes, (index, labels), 1)
    own = votes.argmax(axis=1)
    rng = np.random.default_rng(seed)
    observed = float(balanced_accuracy(own[index], predicted))
    dealt = (rng.permutation(own)[index] for _ in range(draws))
    reached = sum(float(balanced_accuracy(deal, predicted)) >= observed for deal in dealt)
    return (1 + reached) / (1 + draws)


def balanced_predictions(scores: NDArray[np.float64], train_labels: Integers, classes: int) -> Integers:
    """Return the classes (images,) with the largest scores once the training shares are taken off.

    Log-probabilities fitted on unbalanced images favour the common classes; log p(class | image) less the
    log share of the class is the Bayes rule for balanced accuracy. To compare two predictors in balanced
    accuracy, use it for both or for neither. A class without a training image is never predicted.
    """
    counts = np.bincount(train_labels, minlength=classes)
    shares = np.log(np.maximum(counts, 1) / counts.sum())
    return np.where(counts > 0, scores - shares, -np.inf).argmax(axis=1)


def _pixels(
    images: Mapping[SplitName, NDArray[np.uint8]],
    labels: Mapping[SplitName, Integers],
    train_groups: Sequence[str],
    classes: int,
    seed: int,
) -> Floor:
    """Fit the linear readout to the principal components of the pixels, as to a layer of a model."""
    from sklearn.decomposition import PCA

    flat = {name: x.reshape(len(x), -1).astype(np.float32) / 255 for name, x in images.items()}
    size = min(COMPONENTS, len(flat["train"]) - 1, flat["train"].shape[1])
    fitted = PCA(size, svd_solver="randomized", random_state=seed).fit(flat["train"])
    features = {name: fitted.transform(x).astype(np.float32)[None] for name, x in flat.items()}
    found = fit_readout("linear", features, labels, classes)[0]
    null = permutation_null(
        [features["train"][0]],
        labels["train"],
        train_groups,
        [features["test"][0]],
        labels["test"],
        classes,
        draws=PIXEL_DRAWS,
        seed=seed,
    )
    scores = {name: by_site[0] for name, by_site in found.items()}
    detail = f"linear readout of {size} principal components of 64 x 64 pixels"
    return Floor("pixels", detail, seed, scores, float(null.p[0]))


def _majority(labels: Mapping[SplitName, Integers], classes: int, seed: int) -> Floor:
    """Answer every image with the classes' shares in training; one is added to every count."""
    counts = np.bincount(labels["train"], minlength=classes) + 1
    shares = np.log(counts / counts.sum())
    scores = {name: np.tile(shares, (len(labels[name]), 1)) for name in PREDICTED}
    return Floor("majority", "commonest class of the training images", seed, scores)


_CACHED: tuple[FloorName, ...] = ("reference", "pixels", "majority")


def _write(floors: Floors, path: Path) -> None:
    arrays: dict[str, Any] = {}
    about: dict[str, Any] = {"key": floors.key}
    for floor in floors.named:
        about[floor.name] = [floor.detail, floor.seed, floor.permutation_p]
        arrays |= {f"{floor.name}.{split}": floor.scores[split] for split in PREDICTED}
    with path.open("wb") as stream:
        np.savez(stream, about=np.array(json.dumps(about)), **arrays)


def _read(key: str, path: Path) -> Floors:
    with np.load(path, allow_pickle=False) as kept:
        about = json.loads(str(kept["about"]))
        if about["key"] != key:
            raise ValueError("it belongs to other images")
        return Floors(key, **{name: _floor(name, about[name], kept.__getitem__) for name in _CACHED})


def _floor(name: FloorName, about: Sequence[Any], array: Callable[[str], Any]) -> Floor:
    detail, seed, p = about
    scores = {split: np.asarray(array(f"{name}.{split}"), dtype=np.float64) for split in PREDICTED}
    if any(s.ndim != 2 or not np.isfinite(s).all() for s in scores.values()):
        raise ValueError(f"scores of {name} are not a finite table")
    return Floor(name, str(detail), int(seed), scores, None if p is None else float(p))
