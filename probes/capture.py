"""Pooled features of one forward pass, taken by hooks where the tensor is.

A hook averages a layer's output over one image's tokens, or takes the last prompt token, and keeps nothing
else: memory grows neither with layers times tokens nor with the number of images. All means are computed
in float32 whatever the model's precision. Nothing here knows a model class: the caller hands over modules
and says how tokens belong to images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import isqrt
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from probes.sites import Module, Pool


class CaptureError(Exception):
    """A layer's output does not have the shape that the layout promised; the message names the layer."""


@dataclass(frozen=True)
class Merge:
    """Which tokens of an encoder a connector puts side by side into one token of its own.

    `tokens` is the size of a group. Groups are "consecutive" where the processor lays patches out in
    merge order already, so that each run of `tokens` tokens is one group, and "grid" where the tokens of
    a tile are a square picture, row by row, cut into square blocks.
    """

    tokens: int
    arrangement: Literal["consecutive", "grid"]


@dataclass(frozen=True)
class Watched:
    """One module to watch: its place in the model (`vision`, layer 3) and the module itself.

    With `merge` its output is pooled "regrouped" as well, see `pool_groups`.
    """

    module: Module
    layer: int
    target: nn.Module = field(repr=False)
    merge: Merge | None = None

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The ways in which this module's output is pooled."""
        if self.module == "llm":
            return "mean", "last"
        return ("mean",) if self.merge is None else ("mean", "regrouped")

    def key(self, pool: Pool) -> str:
        """The site's key, as `Site.key` gives it."""
        return f"{self.module}.{self.layer:02d}.{pool}"


@dataclass(frozen=True)
class ImageLayout:
    """How the rows of vision and connector outputs belong to the images of a batch.

    `units` says for each image how many of the encoder's units it has: tiles where the encoder sees a
    batch of pictures, patches where all images are packed into one sequence. Each image's units are
    contiguous and in the order of the batch. `drop_first` leaves a class token out of vision means,
    as the model itself does.
    """

    units: tuple[int, ...]
    drop_first: bool = False


@dataclass(frozen=True)
class TokenLayout:
    """Which positions of the decoder's input are image tokens: booleans of shape (batch, length).

    Prompts are padded on the left, so that the last position is the last prompt token of every row.
    """

    image_tokens: Tensor = field(repr=False)


class PooledFeatures:
    """What one forward pass left at every watched place, one vector an image."""

    def __init__(self, images: int) -> None:
        self.images = images
        self._pooled: dict[str, Tensor] = {}

    def add(self, key: str, pooled: Tensor) -> None:
        """Keep one place's features, shape (images, width), float32, still on the model's device.

        Raises:
            CaptureError: the place has features already, or there is not one row an image.
        """
        if key in self._pooled:
            raise CaptureError(f"{key}: the layer ran twice in one forward pass")
        if pooled.shape[0] != self.images:
            raise CaptureError(f"{key}: {pooled.shape[0]} rows for {self.images} images")
        self._pooled[key] = pooled

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every place's features as float32 arrays of shape (images, width).

        Places of equal width leave their device together, in one transfer.
        """
        stacks: dict[tuple[torch.device, int], list[str]] = {}
        for key, pooled in self._pooled.items():
            stacks.setdefault((pooled.device, pooled.shape[1]), []).append(key)
        found: dict[str, np.ndarray] = {}
        for keys in stacks.values():
            block = torch.stack([self._pooled[key] for key in keys]).cpu().numpy()
            found.update(zip(keys, block, strict=True))
        return {key: found[key] for key in self._pooled}


@contextmanager
def capture(watched: Sequence[Watched], images: ImageLayout, tokens: TokenLayout) -> Iterator[PooledFeatures]:
    """Watch modules during exactly one forward pass over the prompt.

    Yields the collection that the hooks fill; the hooks are gone when the block ends, also after an error.

    Raises:
        CaptureError: inside the block, where an output does not fit the layouts.
    """
    features = PooledFeatures(len(images.units))
    decoder_mean = _DecoderMean(tokens)
    with ExitStack() as stack:
        for one in watched:
            if one.module == "llm":
                hook = _decoder_hook(one, decoder_mean, features)
            else:
                drop_first = images.drop_first and one.module == "vision"
                hook = _image_hook(one, images.units, drop_first, features)
            stack.callback(one.target.register_forward_hook(hook).remove)
        yield features


Hook = Callable[[nn.Module, Any, Any], None]


def _image_hook(one: Watched, units: tuple[int, ...], drop_first: bool, features: PooledFeatures) -> Hook:
    key, merge = one.key("mean"), one.merge

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        states = output_tensor(output, key)
        features.add(key, pool_images(states, units, drop_first=drop_first, where=key))
        if merge is not None:
            where = one.key("regrouped")
            features.add(where, pool_groups(states, units, merge, drop_first=drop_first, where=where))

    return hook


def _decoder_hook(one: Watched, mean: _DecoderMean, features: PooledFeatures) -> Hook:
    mean_key, last_key = one.key("mean"), one.key("last")

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        states = output_tensor(output, mean_key)
        features.add(mean_key, mean(states, mean_key))
        features.add(last_key, states[:, -1].to(torch.float32, copy=True))

    return hook


def output_tensor(output: Any, where: str) -> Tensor:
    """Return the hidden states in a layer's output: itself, its first entry, or its last hidden state.

    Raises:
        CaptureError: there is no tensor in any of these places.
    """
    first = output[0] if isinstance(output, tuple | list) else output
    if not isinstance(first, Tensor):
        first = getattr(output, "last_hidden_state", None)
    if not isinstance(first, Tensor):
        raise CaptureError(f"{where}: the layer returned {type(output).__name__}, not a tensor")
    return first


def pool_images(
    output: Tensor, units: tuple[int, ...], *, drop_first: bool = False, where: str = "output"
) -> Tensor:
    """Return each image's mean over all its tokens, float32, shape (images, width).

    `output` has shape (units, tokens, width) where its first axis counts tiles, else (…, tokens, width)
    with all images packed one after the other, each with a share of the tokens that is proportional to
    its units (a connector that merges 2x2 patches leaves a quarter).

    Raises:
        CaptureError: the tokens cannot be shared out.
    """
    total, width = sum(units), output.shape[-1]
    if output.ndim >= 3 and output.shape[0] == total:
        tiles = output.flatten(1, -2)
        pooled = (tiles[:, 1:] if drop_first else tiles).mean(1, dtype=torch.float32)
        return _segment_means(pooled, units)
    rows = output.reshape(-1, width)
    if drop_first or any(rows.shape[0] * count % total for count in units):
        raise CaptureError(
            f"{where}: an output of shape {tuple(output.shape)} cannot be shared by units {units}"
        )
    return _segment_means(rows, tuple(rows.shape[0] * count // total for count in units))


def pool_groups(
    output: Tensor, units: tuple[int, ...], merge: Merge, *, drop_first: bool = False, where: str = "output"
) -> Tensor:
    """Return each image's mean over its groups of merged tokens, float32, (images, merge.tokens * width).

    A connector that puts the tokens of a group side by side gives its weights a view of the group that the
    mean over single tokens lacks: what the connector could read from the layer is the mean of the
    concatenated group, which is one mean for each place in the group. Their average is `pool_images`.

    Raises:
        CaptureError: the tokens cannot be cut into such groups, or not be shared out.
    """
    width, edge = output.shape[-1], isqrt(merge.tokens)
    if merge.arrangement == "consecutive" and not drop_first and output.numel() % (merge.tokens * width) == 0:
        return pool_images(output.reshape(-1, merge.tokens * width), units, where=where)
    tiles = output.flatten(1, -2)[:, int(drop_first) :] if output.ndim >= 3 else output[None]
    side = isqrt(tiles.shape[1])
    square = side**2 == tiles.shape[1] and side % edge == 0 and len(tiles) == sum(units)
    if merge.arrangement != "grid" or not square:
        raise CaptureError(
            f"{where}: an output of shape {tuple(output.shape)} for units {units} cannot be cut into "
            f"{merge.arrangement} groups of {merge.tokens}"
        )
    blocks = tiles.reshape(len(tiles), side // edge, edge, side // edge, edge, width)
    return _segment_means(blocks.mean((1, 3), dtype=torch.float32).flatten(1), units)


def _segment_means(rows: Tensor, lengths: tuple[int, ...]) -> Tensor:
    if len(set(lengths)) == 1:
        return rows.reshape(len(lengths), lengths[0], -1).mean(1, dtype=torch.float32)
    return torch.stack([part.mean(0, dtype=torch.float32) for part in rows.split(lengths)])


class _DecoderMean:
    """The mean over image tokens: one slice where all rows have them in one place, else a weighted sum."""

    def __init__(self, tokens: TokenLayout) -> None:
        mask = tokens.image_tokens.cpu()
        counts = mask.sum(1)
        if bool((counts == 0).any()):
            raise CaptureError(f"row {int((counts == 0).nonzero()[0])} of the batch has no image tokens")
        columns = mask.any(0).nonzero()[:, 0]
        self._start, self._stop = int(columns[0]), int(columns[-1]) + 1
        self._length = mask.shape[1]
        self._uniform = int(counts.min()) == self._stop - self._start
        self._weights = mask[:, None, self._start : self._stop].float() / counts[:, None, None]

    def __call__(self, states: Tensor, where: str) -> Tensor:
        if states.ndim != 3 or states.shape[1] != self._length:
            raise CaptureError(
                f"{where}: an output of shape {tuple(states.shape)} for prompts of {self._length} tokens"
            )
        span = states[:, self._start : self._stop]
        if self._uniform:
            return span.mean(1, dtype=torch.float32)
        if self._weights.device != span.device:
            self._weights = self._weights.to(span.device)
        return torch.bmm(self._weights, span.float())[:, 0]
