"""R, the reference classifier: two small convolutional networks trained from scratch by one fixed recipe.

It says how much of the class the training images teach without any pretraining, and so is the ceiling that
a model's vision layers are held against. Nothing is tuned per task: what depends on the task is the number
of classes, and which of a few snapshots has the lowest log-loss on the validation images.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from model_adapters.support.training import (
    augment,
    batches,
    fit_temperature,
    mean_log_probabilities,
    measure_batch_statistics,
    schedule,
    torch_threads,
)

Images = NDArray[np.uint8]
Integers = NDArray[np.integer]

NAME = "two small CNNs from scratch"
RECIPE_VERSION = 2  # raised with every change that can change a prediction
SIZE = 64  # side of the pictures that it sees, in pixels

_PREDICTED_AT_ONCE = 256
_MEASURED_AT_ONCE = 128


@dataclass(frozen=True)
class ReferenceRecipe:
    """How R is trained; the defaults are the recipe of every task.

    `rotation` is in degrees, `shift` in half picture widths, `zoom` in nats of the scale, `contrast` and
    `brightness` in standard deviations of the training pixels: largest values of a uniform draw.
    """

    members: int = 2  # networks, trained side by side, whose probabilities are averaged
    width: int = 24  # channels after the first layer; doubled twice
    steps: int = 400
    batch: int = 64
    learning_rate: float = 4e-3
    warm_up: float = 0.1  # share of the steps
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    averaging: float = 0.99  # decay of the weights' moving average, from which R predicts
    snapshots: tuple[float, ...] = (0.6, 0.8, 1.0)  # shares of the steps
    rotation: float = 10.0
    shift: float = 0.12
    zoom: float = 0.12
    contrast: float = 0.1
    brightness: float = 0.1
    measured: int = 1024  # training images on which a snapshot's batch statistics are measured


RECIPE = ReferenceRecipe()


@dataclass(frozen=True, eq=False)
class Reference:
    """The trained classifier.

    `steps` are the snapshots that were kept, one a network; `temperature` divides the scores and
    `validation_log_loss` is the log-loss in nats with it. `mean` and `deviation` (3,) standardise the pixels.
    """

    classes: int
    steps: tuple[int, ...]
    temperature: float
    validation_log_loss: float
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    device: str
    networks: tuple[nn.Module, ...] = field(repr=False)

    def predict(self, images: Images) -> NDArray[np.float64]:
        """Return log-probabilities (images, classes), averaged over networks and mirror images.

        Raises:
            ValueError: the images are not uint8 of the shape (images, 64, 64, 3).
        """
        _check_images("images", images)
        with torch_threads():
            scores = _scores(self.networks, _tensor(images, self.mean, self.deviation), self.device)
        return mean_log_probabilities(scores, self.temperature)


def to_reference_pixels(image: Image.Image) -> Images:
    """Return the picture as R sees it: RGB, (64, 64, 3), bicubic with antialiasing, stretched to a square."""
    return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def train_reference(
    train_images: Images,
    train_labels: Integers,
    validation_images: Images,
    validation_labels: Integers,
    classes: int,
    *,
    seed: int = 0,
    device: str = "cpu",
    recipe: ReferenceRecipe = RECIPE,
) -> Reference:
    """Train R. On the CPU the same arguments give the same network; no global random state is touched.

    The number of steps is fixed whatever the number of images, so it takes the same time on every task.
    The loss is unweighted, as that of the probes it is compared with: its log-probabilities hold the
    classes' shares in training.

    Args:
        train_images: uint8 (images, 64, 64, 3), RGB; see `to_reference_pixels`.
        train_labels: (images,), from 0 to `classes` - 1.
        validation_images: choose the snapshot and the temperature.
        validation_labels: as `train_labels`.
        classes: number of classes of the task.
        seed: of the initial weights, the order of the images and the augmentation.
        device: where torch computes.
        recipe: other settings, for tests and trials; a record states R of the default recipe.

    Raises:
        ValueError: shapes or labels do not fit together, or a split is empty.
    """
    for name, images, labels in (
        ("train", train_images, train_labels),
        ("validation", validation_images, validation_labels),
    ):
        _check_images(name, images)
        if labels.shape != (len(images),) or len(labels) == 0:
            raise ValueError(f"reference: {name}: {labels.shape} labels for {len(images)} images")
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"reference: {name}: labels {labels.min()} to {labels.max()}, {classes} classes")
    mean = train_images.mean(axis=(0, 1, 2), dtype=np.float64)
    deviation = np.maximum(train_images.std(axis=(0, 1, 2), dtype=np.float64), 1.0)  # a constant channel
    mean, deviation = mean.astype(np.float32), deviation.astype(np.float32)
    pixels, validation = (_tensor(x, mean, deviation) for x in (train_images, validation_images))
    target = torch.from_numpy(train_labels.astype(np.int64))

    def member(number: int) -> tuple[int, nn.Module]:
        torch.set_num_threads(1)  # a new thread starts with a number of its own
        generator = torch.Generator().manual_seed(seed * recipe.members + number)
        made = _snapshots(pixels, target, classes, generator, device, recipe)
        return min(
            made, key=lambda one: fit_temperature(_scores(one[1:], validation, device), validation_labels)
        )

    with torch_threads(), ThreadPoolExecutor(recipe.members) as pool:  # torch computes outside Python's lock
        found = list(pool.map(member, range(recipe.members)))
        networks = tuple(network for _, network in found)
        loss, temperature = fit_temperature(_scores(networks, validation, device), validation_labels)
    return Reference(
        classes=classes,
        steps=tuple(step for step, _ in found),
        temperature=temperature,
        validation_log_loss=loss,
        mean=mean,
        deviation=deviation,
        device=device,
        networks=networks,
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.norm(self.convolution(x)))


class _Network(nn.Module):
    """Three strided convolutions, a residual block after the last two, mean and maximum over the picture."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_strided(3, width, 5),
            *_strided(width, 2 * width, 3),
            _Residual(2 * width),
            *_strided(2 * width, 4 * width, 3),
            _Residual(4 * width),
        )
        self.head = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(x)
        return self.head(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))


def _strided(inputs: int, outputs: int, kernel: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def _initial(classes: int, width: int, generator: torch.Generator) -> nn.Module:
    """Make the network without torch's global generator."""
    with torch.device("meta"):
        network = _Network(classes, width)
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(
            module, nn.Conv2d | nn.Linear
        ):  # torch's own choice; small, so that steps count for more
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    return network


def _snapshots(
    pixels: Tensor,
    target: Tensor,
    classes: int,
    generator: torch.Generator,
    device: str,
    recipe: ReferenceRecipe,
) -> Iterator[tuple[int, nn.Module]]:
    """Train, and yield the averaged network at the recipe's snapshots."""
    wanted = {max(1, round(share * recipe.steps)) for share in recipe.snapshots}
    if recipe.steps not in wanted:
        raise ValueError(
            f"reference: snapshots at {sorted(wanted)} of {recipe.steps} steps leave out the last"
        )
    network = _initial(classes, recipe.width, generator).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    for step, chosen in enumerate(batches(len(pixels), recipe.steps, recipe.batch, generator), start=1):
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step / recipe.steps, recipe.warm_up)
        batch = augment(pixels[chosen], recipe, generator)
        scores = network(_on(device, batch))
        loss = functional.cross_entropy(
            scores, target[chosen].to(device), label_smoothing=recipe.label_smoothing
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            kept = min(recipe.averaging, step / (10 + step))  # forget the initial weights soon
            for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1 - kept)
        if step in wanted:
            snapshot = copy.deepcopy(averaged)
            measured = pixels[spread(len(pixels), recipe.measured)].split(_MEASURED_AT_ONCE)
            measure_batch_statistics(snapshot, (_on(device, batch) for batch in measured))
            yield step, snapshot


def spread(images: int, count: int) -> Tensor:
    """Return at most `count` places among so many images, evenly spaced: images may come class by class."""
    if images <= count:
        return torch.arange(images)
    return torch.linspace(0, images - 1, count).round().long()


@torch.no_grad()
def _scores(networks: Sequence[nn.Module], pixels: Tensor, device: str) -> NDArray[np.float64]:
    """Return every network's scores of pictures and mirror images, (2 networks, images, classes)."""
    found = []
    for batch in pixels.split(_PREDICTED_AT_ONCE):
        both = [_on(device, x) for x in (batch, batch.flip(3))]
        found.append(torch.stack([network(x) for network in networks for x in both]).double().cpu())
    return torch.cat(found, dim=1).numpy()


def _tensor(images: Images, mean: NDArray[np.float32], deviation: NDArray[np.float32]) -> Tensor:
    standard = (images.astype(np.float32) - mean) / deviation
    return torch.from_numpy(np.ascontiguousarray(standard.transpose(0, 3, 1, 2)))


def _on(device: str, batch: Tensor) -> Tensor:
    return batch.to(device).contiguous(memory_format=torch.channels_last)


def _check_images(name: str, images: Images) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (SIZE, SIZE, 3):
        raise ValueError(
            f"reference: {name}: {images.dtype} {images.shape}; expected uint8 (images, {SIZE}, {SIZE}, 3)"
        )
