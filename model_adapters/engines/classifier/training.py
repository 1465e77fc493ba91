"""Train an image classifier on one task's images, and choose its weights on the validation images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from model_adapters.engines.classifier.architectures import Classifier
from model_adapters.engines.classifier.recipe import ClassifierRecipe
from model_adapters.interface import LabelledImages, ModelError, TrainingImages
from model_adapters.support.training import (
    augment,
    batches,
    fit_temperature,
    measure_batch_statistics,
    schedule,
    seeded,
    torch_threads,
)

_EVALUATED_AT_ONCE = 128

Progress = Callable[[int], None]
Watch = Callable[[int, Classifier], None]


@dataclass(frozen=True)
class Evaluation:
    """What the validation images said after a number of steps; the log-loss in nats, with the temperature."""

    step: int
    log_loss: float
    temperature: float


@dataclass(frozen=True, eq=False)
class Trained:
    """What training gave: the weights that are kept, and what their inputs and scores are divided by.

    `mean` and `deviation` (3,) standardise 8-bit RGB pixels. `kept` is the best of `evaluations`.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    kept: Evaluation
    evaluations: tuple[Evaluation, ...]
    weights: dict[str, Tensor] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Pixels:
    """Pictures of one split, uint8 (images, side, side, 3), RGB, with their class indices (images,)."""

    images: NDArray[np.uint8] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)


def to_pixels(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """Return a picture as a classifier sees it: RGB, (side, side, 3), bicubic with antialiasing, stretched."""
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


def standardise(images: NDArray[np.uint8], mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    """Return pixels as float32 (images, 3, side, side); the channels stay last in memory."""
    centre, scale = np.asarray(mean, dtype=np.float32), np.asarray(deviation, dtype=np.float32)
    standard = (images.astype(np.float32) - centre) / scale
    return torch.from_numpy(standard).permute(0, 3, 1, 2)


def train(
    build: Callable[[], Classifier],
    images: TrainingImages,
    recipe: ClassifierRecipe,
    *,
    side: int,
    seed: int,
    device: torch.device,
    progress: Progress,
    watch: Watch | None = None,
) -> Trained:
    """Train a classifier by a recipe; see `ClassifierRecipe`. On the CPU the same arguments give the same weights.

    Args:
        build: makes the network before its first step.
        images: train, and validation, of which at most `recipe.validation` images are read.
        recipe: how to train.
        side: of the pictures, in pixels.
        seed: of the order of the images, the augmentation and dropout.
        device: where torch computes.
        progress: is told the steps done, or with `recipe.epochs` the epochs.
        watch: is shown the network, ready to predict, at every evaluation.

    Raises:
        ModelError: there is no image to learn from or to choose by, or training diverges.
    """
    generator = torch.Generator().manual_seed(seed)
    data, validation = _read(images, recipe, side, generator)
    mean, deviation = _moments(data.images)
    drawn = torch.randperm(len(data.images), generator=generator)[: recipe.measured].numpy()
    measured = data.images[drawn]

    def inputs(chosen: NDArray[np.uint8]) -> Tensor:
        return standardise(chosen, mean, deviation)

    with torch_threads(recipe.threads), seeded(seed, device):
        best: Evaluation | None = None
        weights: dict[str, Tensor] = {}
        seen: list[Evaluation] = []
        for step, averaged in _snapshots(build(), data, recipe, generator, inputs, progress):
            measure_batch_statistics(averaged, (inputs(part) for part in _parts(measured)))
            found = _evaluate(averaged, validation, inputs, step, recipe)
            seen.append(found)
            if watch is not None:
                watch(step, averaged)
            if best is None or found.log_loss < best.log_loss:
                best, weights = found, _copy(averaged)
            elif sum(one.step > best.step for one in seen) >= recipe.patience:
                break
    assert best is not None
    return Trained(mean, deviation, best, tuple(seen), weights)


def _read(
    images: TrainingImages, recipe: ClassifierRecipe, side: int, generator: torch.Generator
) -> tuple[Pixels, Pixels]:
    for split, labelled, needed in (("train", images.train, 2), ("validation", images.validation, 1)):
        if len(labelled) < needed:  # batch norms see no variance in a single picture
            raise ModelError(f"{split} images: {len(labelled)}; an image classifier needs {needed} or more")
    drawn = torch.randperm(len(images.validation), generator=generator)[: recipe.validation]
    chosen = np.sort(drawn.numpy())
    return _pixels(images.train, np.arange(len(images.train)), side), _pixels(images.validation, chosen, side)


def _pixels(labelled: LabelledImages, chosen: NDArray[np.int64], side: int) -> Pixels:
    pictures = np.stack([to_pixels(labelled.read(int(index)), side) for index in chosen])
    return Pixels(pictures, labelled.labels[chosen].astype(np.int64))


def _moments(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the channels' means and standard deviations; a constant channel is divided by 1."""
    total = images.shape[0] * images.shape[1] * images.shape[2]
    # By counts of the 256 values: exact, and without a copy of all pixels as floats.
    values = np.arange(256, dtype=np.float64)
    means, deviations = [], []
    for channel in range(3):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        mean = float(counts @ values) / total
        means.append(mean)
        deviations.append(max(float(np.sqrt(counts @ (values - mean) ** 2 / total)), 1.0))
    return tuple(means), tuple(deviations)


def _snapshots(
    classifier: Classifier,
    data: Pixels,
    recipe: ClassifierRecipe,
    generator: torch.Generator,
    inputs: Callable[[NDArray[np.uint8]], Tensor],
    progress: Progress,
) -> Iterator[tuple[int, Classifier]]:
    """Train, and yield the averaged network wherever the validation images are to be looked at."""
    steps = recipe.steps_for(len(data.images))
    looks = {round(steps * part / recipe.evaluations) for part in range(1, recipe.evaluations + 1)} - {0}
    epoch = -(-steps // recipe.epochs) if recipe.epochs else 1
    groups = _groups(classifier, recipe.weight_decay)
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, foreach=True)
    target = torch.from_numpy(data.labels)
    averaged = copy.deepcopy(classifier)
    classifier.train()
    for step, chosen in enumerate(batches(len(data.images), steps, recipe.batch, generator), start=1):
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step / steps, recipe.warm_up)
        scores = classifier(augment(inputs(data.images[chosen.numpy()]), recipe, generator))
        wanted = target[chosen].to(scores.device)
        loss = functional.cross_entropy(scores, wanted, label_smoothing=recipe.label_smoothing)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(classifier.parameters(), recipe.gradient_norm)
        optimiser.step()
        with torch.no_grad():
            kept = min(recipe.averaging, step / (10 + step))  # forget the initial weights soon
            for mean, value in zip(averaged.parameters(), classifier.parameters(), strict=True):
                mean.lerp_(value, 1 - kept)
        if step % epoch == 0:
            progress(1)
        if step in looks:
            yield step, averaged


def _groups(classifier: Classifier, weight_decay: float) -> list[dict[str, object]]:
    """Split the parameters: matrices and kernels are decayed, biases, norms and scales are not."""
    trained = [p for p in classifier.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


@torch.inference_mode()
def _evaluate(
    classifier: Classifier,
    validation: Pixels,
    inputs: Callable[[NDArray[np.uint8]], Tensor],
    step: int,
    recipe: ClassifierRecipe,
) -> Evaluation:
    parts = [classifier(inputs(part)) for part in _parts(validation.images)]
    scores = torch.cat(parts).double().cpu().numpy()
    if not np.isfinite(scores).all():
        raise ModelError(
            f"training diverged before step {step} with the learning rate {recipe.learning_rate:g}; "
            "give a lower one with --model-args learning_rate=…"
        )
    log_loss, temperature = fit_temperature(scores[None], validation.labels)
    return Evaluation(step, log_loss, temperature)


def _parts(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Cut pictures into batches of about equal size, so that none holds a single picture of many."""
    return np.array_split(images, -(-len(images) // _EVALUATED_AT_ONCE))


def _copy(classifier: Classifier) -> dict[str, Tensor]:
    """Return a copy of the weights, batch statistics with them, as they are kept in a file."""
    return {key: value.detach().cpu().clone().contiguous() for key, value in classifier.state_dict().items()}
