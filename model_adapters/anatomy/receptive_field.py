"""Which tokens of the vision encoder one token of the connector sees: found by changing some and looking.

Families lay patches out differently and merge them in different places (a patch merger, a pixel shuffle
before or inside the connector), so nothing here goes by a name: an arrangement counts only if changing one
of its groups changes one token of the connector's output and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from model_adapters.anatomy.find import Anatomy
from probes.capture import Merge, output_tensor

_CHANGED = 1e-3  # of the largest change; below it is the rounding of a batched product


def find_merge(anatomy: Anatomy, run: Callable[[], object]) -> Merge | None:
    """Find how a connector that concatenates tokens groups them, in at most three forward passes.

    None where the connector sees single tokens, where it averages or convolves those that it merges
    instead of putting them side by side, or where no arrangement known here is the one it uses.

    Args:
        anatomy: of the loaded model.
        run: does one forward pass over one picture, the same at every call, more wide than high and of
            more than one group.
    """
    seen = _look(anatomy, run)
    states, first = seen.states, int(anatomy.drops_class_token)
    tokens, width = states.shape[-2] - first, states.shape[-1]
    tiles = states.numel() // (states.shape[-2] * width)
    made = len(seen.connected)
    size = tokens * tiles // made if made and tokens * tiles % made == 0 else 1
    if size == 1 or tokens <= size or seen.first_linear != size * width:
        return None
    for merge, group in _candidates(tokens, size, in_tiles=states.ndim >= 3, drops_first=bool(first)):
        changed = _look(anatomy, run, change=[first + token for token in group]).connected - seen.connected
        amount = changed.abs().amax(-1)
        if int((amount > _CHANGED * amount.max()).sum()) == tiles:  # one token in each tile
            return merge
    return None


def _candidates(
    tokens: int, size: int, *, in_tiles: bool, drops_first: bool
) -> list[tuple[Merge, tuple[int, ...]]]:
    """Return each arrangement that fits a tile's tokens, with the tokens of its first group."""
    found = []
    side, edge = isqrt(tokens), isqrt(size)
    if in_tiles and side**2 == tokens and edge**2 == size and side % edge == 0:
        corner = tuple(row * side + column for row in range(edge) for column in range(edge))
        found.append((Merge(size, "grid"), corner))
    if not drops_first:
        found.append((Merge(size, "consecutive"), tuple(range(size))))
    return found


@dataclass(frozen=True)
class _Response:
    """What one pass showed at the connector: what goes in, how wide its first product is, what comes out.

    `states` has the shape (tiles, tokens, width) or (tokens, width); `connected` (tokens, width).
    """

    states: Tensor
    connected: Tensor
    first_linear: int | None


def _look(anatomy: Anatomy, run: Callable[[], object], change: list[int] | None = None) -> _Response:
    """Do one pass, the consumed layer's tokens at the positions `change` altered on the way."""
    states: list[Tensor] = []
    connected: list[Tensor] = []
    linear: list[int] = []

    def encoder_hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        tensor = output_tensor(output, anatomy.vision_path)
        states.append(tensor)
        if change is None:
            return None
        altered = _altered(tensor, change)
        return (altered, *output[1:]) if isinstance(output, tuple) else altered

    def connector_hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        tensor = output_tensor(output, anatomy.connector_path)
        connected.append(tensor.reshape(-1, tensor.shape[-1]).float())

    def linear_hook(_module: nn.Module, inputs: Any) -> None:
        linear.append(int(inputs[0].shape[-1]))

    with ExitStack() as stack:
        consumed = anatomy.vision_blocks[anatomy.consumed_layer]
        stack.callback(consumed.register_forward_hook(encoder_hook).remove)
        stack.callback(anatomy.connector.register_forward_hook(connector_hook).remove)
        for module in anatomy.connector.modules():
            if isinstance(module, nn.Linear):
                stack.callback(module.register_forward_pre_hook(linear_hook).remove)
        run()
    return _Response(states[0], connected[0], linear[0] if linear else None)


def ramp(states: Tensor) -> Tensor:
    """Return a ramp over the channels (width,), larger than the states vary: no norm takes it away."""
    scale = 1 + float(states.float().std())
    return torch.linspace(-scale, scale, states.shape[-1], dtype=states.dtype, device=states.device)


def _altered(states: Tensor, positions: list[int]) -> Tensor:
    """Add a ramp to the tokens at some positions."""
    altered = states.clone()
    altered[..., positions, :] += ramp(states)
    return altered
