"""The `paper` readout: the published two-layer MLP, all sites and seeds trained as one batch (torch).

Recipe of Zhu et al., arXiv 2604.08333: two layers, ReLU, dropout 0.1, AdamW with learning rate 1e-4,
cosine schedule with 5% warm-up, 20 epochs, batch size 4, trained twice. What the paper leaves open is
fixed here: features standardised by the training images; a hidden layer as wide as the features, at most
512; PyTorch's initialisation and weight decay (0.01); every image once per epoch in random order, a
smaller last batch kept; dropout on the hidden units; the state after the last epoch, no early stopping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probes.fit.scaling import Floats, Standardiser, standardise

Integers = NDArray[np.integer]

LARGEST_HIDDEN = 512

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


@dataclass(frozen=True)
class PaperRecipe:
    """The hyperparameters; the defaults are the published ones where the paper states them."""

    hidden: int | None = None  # None: the width of the features, at most LARGEST_HIDDEN
    dropout: float = 0.1
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    warm_up: float = 0.05  # share of all steps
    epochs: int = 20
    batch_size: int = 4


PUBLISHED = PaperRecipe()
FAST = PaperRecipe(batch_size=64, learning_rate=4e-4)


@dataclass(frozen=True)
class PaperProbes:
    """Trained MLP probes.

    Shapes: `first` (seeds, sites, width, hidden), `first_bias` (seeds, sites, hidden), `second` (seeds,
    sites, hidden, classes), `second_bias` (seeds, sites, classes).
    """

    standardiser: Standardiser
    first: NDArray[np.float32]
    first_bias: NDArray[np.float32]
    second: NDArray[np.float32]
    second_bias: NDArray[np.float32]
    seeds: tuple[int, ...]

    def predict(self, features: Floats) -> NDArray[np.float64]:
        """Return log-probabilities (seeds, sites, images, classes) for features (sites, images, width)."""
        inputs = self.standardiser.apply(features)
        hidden = np.maximum(inputs @ self.first + self.first_bias[:, :, None], 0)
        scores = (hidden @ self.second + self.second_bias[:, :, None]).astype(np.float64)
        shifted = scores - scores.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def fit_paper(
    train: Floats,
    train_labels: Integers,
    classes: int,
    *,
    seeds: Sequence[int] = (0, 1),
    recipe: PaperRecipe = PUBLISHED,
    device: str = "cpu",
    memory_bytes: int = 2**31,
) -> PaperProbes:
    """Train the published probe at every site, once per seed.

    A seed fixes initial weights, image order and dropout masks, the same for every site, as a loop over
    sites that seeds each one alike would have them. So the result for a site does not depend on which
    other sites are trained beside it. There is no choice on validation: the recipe has none.

    Args:
        train: (sites, images, width).
        train_labels: (images,), from 0 to `classes` - 1.
        classes: number of classes.
        seeds: one training per seed.
        recipe: `PUBLISHED`, or `FAST` for batches of 64 at four times the learning rate.
        device: where torch computes.
        memory_bytes: an upper bound for the working memory; sites are taken in groups that fit, at
            least one at a time.

    Raises:
        ValueError: shapes or labels do not fit together, or a value is not finite.
    """
    scaling = standardise(train)
    sites, images, width = train.shape
    if train_labels.shape != (images,):
        raise ValueError(f"{train_labels.shape} labels for {images} images")
    if train_labels.min() < 0 or train_labels.max() >= classes:
        raise ValueError(f"labels from {train_labels.min()} to {train_labels.max()} for {classes} classes")
    hidden = recipe.hidden or min(width, LARGEST_HIDDEN)
    parameters = len(seeds) * (width * hidden + hidden * (classes + 1) + classes)
    size = max(1, memory_bytes // (4 * (6 * parameters + 3 * images * width)))
    fitted: list[list[NDArray[np.float32]]] = []
    for start in range(0, sites, size):
        part = slice(start, start + size)
        local = Standardiser(scaling.mean[part], scaling.scale[part])
        features = torch.from_numpy(local.apply(train[part])).to(device)
        labels = torch.from_numpy(train_labels.astype(np.int64)).to(device)
        fitted.append([p.cpu().numpy() for p in _train(features, labels, classes, seeds, recipe, hidden)])
    first, first_bias, second, second_bias = (np.concatenate(p, axis=1) for p in zip(*fitted, strict=True))
    return PaperProbes(
        standardiser=scaling,
        first=first,
        first_bias=first_bias[:, :, 0],
        second=second,
        second_bias=second_bias[:, :, 0],
        seeds=tuple(seeds),
    )


def learning_rates(steps: int, recipe: PaperRecipe) -> list[float]:
    """Return the learning rate of every step: linear warm-up from 0, then half a cosine down to 0."""
    warm = math.ceil(recipe.warm_up * steps)
    rates = []
    for step in range(steps):
        if step < warm:
            rates.append(recipe.learning_rate * step / warm)
        else:
            done = (step - warm) / max(1, steps - warm)
            rates.append(recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done)))
    return rates


def initial_weights(
    width: int, hidden: int, classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw one probe's weights as `torch.nn.Linear` does: uniform within 1 / sqrt(inputs).

    Returns the first layer's weights (width, hidden) and bias (1, hidden), then the second layer's.
    """
    drawn = []
    for inputs, outputs in ((width, hidden), (hidden, classes)):
        for shape in ((inputs, outputs), (1, outputs)):
            drawn.append((2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(inputs))
    return drawn[0], drawn[1], drawn[2], drawn[3]


def _train(
    features: Tensor, labels: Tensor, classes: int, seeds: Sequence[int], recipe: PaperRecipe, hidden: int
) -> list[Tensor]:
    """Train seeds x sites probes; every parameter has the shape (seeds, sites, ., .)."""
    sites, images, width = features.shape
    # One generator per seed, on the CPU: the same numbers on every device, and none of it global.
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    drawn = [initial_weights(width, hidden, classes, generator) for generator in generators]
    parameters = [
        torch.stack(parts)[:, None].expand(-1, sites, -1, -1).to(features.device).contiguous().flatten(0, 1)
        for parts in zip(*drawn, strict=True)
    ]
    targets = torch.nn.functional.one_hot(labels, classes).to(features.dtype)
    batches = math.ceil(images / recipe.batch_size)
    rates = learning_rates(recipe.epochs * batches, recipe)
    optimiser = _adamw(parameters, recipe)
    for epoch in range(recipe.epochs):
        orders = torch.stack([torch.randperm(images, generator=g) for g in generators]).to(features.device)
        kept = _dropout_masks(generators, images, hidden, recipe.dropout)
        for batch in range(batches):
            window = slice(batch * recipe.batch_size, (batch + 1) * recipe.batch_size)
            chosen = orders[:, window]
            inputs = features[:, chosen].transpose(0, 1).reshape(len(seeds) * sites, -1, width)
            wanted = targets[chosen].repeat_interleave(sites, dim=0)
            mask = None
            if kept is not None:
                mask = kept[:, window].to(features.device).repeat_interleave(sites, dim=0)
            _set_gradients(parameters, inputs, wanted, mask)
            optimiser.param_groups[0]["lr"] = rates[epoch * batches + batch]
            optimiser.step()
    return [p.detach().unflatten(0, (len(seeds), sites)) for p in parameters]


def _adamw(parameters: list[Tensor], recipe: PaperRecipe) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        parameters,
        lr=recipe.learning_rate,
        betas=_BETAS,
        eps=_EPSILON,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def _dropout_masks(
    generators: list[torch.Generator], images: int, hidden: int, dropout: float
) -> Tensor | None:
    """Draw one epoch's masks (seeds, images, hidden), 0 or 1 / (1 - dropout), in the order of use."""
    if dropout == 0:
        return None
    kept = torch.stack([torch.rand(images, hidden, generator=g) >= dropout for g in generators])
    return kept.float() / (1 - dropout)


def _set_gradients(parameters: list[Tensor], inputs: Tensor, wanted: Tensor, mask: Tensor | None) -> None:
    """Write the gradients of the mean cross-entropy, by hand: far cheaper than autograd for small batches."""
    first, first_bias, second, second_bias = parameters
    hidden = torch.baddbmm(first_bias, inputs, first).relu_()
    dropped = hidden if mask is None else hidden * mask
    scores = torch.baddbmm(second_bias, dropped, second)
    error = (torch.softmax(scores, dim=2) - wanted) / inputs.shape[1]
    back = torch.bmm(error, second.mT)
    if mask is not None:
        back *= mask
    back *= hidden > 0
    first.grad, first_bias.grad = torch.bmm(inputs.mT, back), back.sum(dim=1, keepdim=True)
    second.grad, second_bias.grad = torch.bmm(dropped.mT, error), error.sum(dim=1, keepdim=True)
