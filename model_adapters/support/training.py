"""What every training here is made of: the order of the images, augmentation, schedule, temperature, seeds.

R, the reference of a verdict, the image classifiers and fine-tuning use the same parts. None leaves a trace in
torch's global generators.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_TEMPERATURES = np.geomspace(0.25, 4.0, 33)


class Augmentation(Protocol):
    """How far pictures are changed: the largest values of uniform draws.

    `rotation` is in degrees, `shift` in half picture widths, `zoom` in nats of the scale, `contrast` and
    `brightness` in standard deviations of the training pixels.
    """

    @property
    def rotation(self) -> float: ...  # noqa: D102

    @property
    def shift(self) -> float: ...  # noqa: D102

    @property
    def zoom(self) -> float: ...  # noqa: D102

    @property
    def contrast(self) -> float: ...  # noqa: D102

    @property
    def brightness(self) -> float: ...  # noqa: D102


def batches(images: int, steps: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of every step's images; each image comes once before any comes again."""
    needed = steps * batch
    rounds = [torch.randperm(images, generator=generator) for _ in range(-(-needed // images))]
    yield from torch.cat(rounds)[:needed].split(batch)


def schedule(progress: float, warm_up: float) -> float:
    """Return the share of the learning rate: a linear warm-up, then a cosine to 0 (Loshchilov 2017)."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def augment(x: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Mirror, turn, zoom and shift pictures (images, 3, rows, columns), change contrast and brightness."""
    draws = torch.rand(7, len(x), generator=generator) * 2 - 1
    angle, zoom = draws[0] * math.radians(settings.rotation), torch.exp(draws[1] * settings.zoom)
    mirror = torch.where(draws[2] < 0, -1.0, 1.0)
    cosine, sine = zoom * torch.cos(angle), zoom * torch.sin(angle)
    rows = [
        torch.stack([mirror * cosine, -sine, draws[3] * settings.shift], dim=1),
        torch.stack([mirror * sine, cosine, draws[4] * settings.shift], dim=1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
    moved = functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    contrast = torch.exp(draws[5] * settings.contrast)[:, None, None, None]
    return moved * contrast + draws[6, :, None, None, None] * settings.brightness


@torch.no_grad()
def measure_batch_statistics(network: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Set batch norms' running statistics to the plain means over `inputs`, and leave all in evaluation mode.

    A moving average lags behind the weights, or as some architectures set its momentum, is the last batch's.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    network.eval()
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    for batch in inputs:
        network(batch)
    network.eval()


def mean_log_probabilities(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return log-probabilities (images, classes) of scores (members, images, classes), averaged over members."""
    logits = torch.from_numpy(scores / temperature).log_softmax(dim=2)
    return (logits.logsumexp(dim=0) - math.log(len(scores))).numpy()


def fit_temperature(scores: NDArray[np.float64], labels: NDArray[np.integer]) -> tuple[float, float]:
    """Return the lowest log-loss over temperatures, and its temperature (Guo et al. 2017)."""
    rows = np.arange(len(labels))
    losses = [-mean_log_probabilities(scores, t)[rows, labels].mean() for t in _TEMPERATURES]
    best = int(np.argmin(losses))
    return float(losses[best]), float(_TEMPERATURES[best])


@contextmanager
def torch_threads(count: int = 1) -> Iterator[None]:
    """Let this thread's sums be taken in one order: shared out over more threads they round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw all random numbers of a device from a seed, and set its generators back at the end."""
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        yield


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """Return `sha256:` and 16 hexadecimal digits over names, types, shapes and values of weights."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return f"sha256:{digest.hexdigest()[:16]}"
