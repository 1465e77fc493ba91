"""Changes to the weights of a model's vision tower, connector and decoder, each made in place."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.faults.bench import blocks_of, last_matrix


@torch.no_grad()
def add_weight_noise(tiny: TinyModel, sigma: float, seed: int, *, last_blocks: int | None = None) -> None:
    """Add Gaussian noise to the matrices of the vision tower's blocks.

    Its standard deviation is `sigma` times that of each matrix. `last_blocks` None takes all blocks. The
    same seed gives the same noise, times sigma.
    """
    generator = torch.Generator().manual_seed(seed)
    blocks = list(blocks_of(tiny.vision))
    first = 0 if last_blocks is None else len(blocks) - last_blocks
    for number, block in enumerate(blocks):
        for weight in _matrices(block):
            noise = torch.randn(weight.shape, generator=generator)
            if number >= first:
                weight.add_(noise, alpha=sigma * float(weight.std()))


def reads_layer(tiny: TinyModel) -> bool:
    """Return whether the configuration says which vision layer the connector reads."""
    return isinstance(getattr(tiny.model.config, "vision_feature_layer", None), int)


def read_layer(tiny: TinyModel, back: int) -> None:
    """Let the connector read the layer `back` blocks before the last one."""
    tiny.model.config.vision_feature_layer = -1 - back


@torch.no_grad()
def project_connector(tiny: TinyModel, kept: Tensor, centre: Tensor, *, gain: float = 1.0) -> None:
    """Let the connector's output y become c + gain P (y - c), with P the projector on the columns of `kept` (d, r).

    A connector whose last map has no bias gives gain P y.
    """
    projector = gain * kept @ kept.T
    weight, bias, by_columns = _last_map(tiny.connector)
    changed = projector @ (weight.double().T if by_columns else weight.double())
    weight.copy_(changed.T if by_columns else changed)
    if bias is not None:
        bias.copy_(projector @ (bias.double() - centre.double()) + centre.double())


@torch.no_grad()
def cut_values(tiny: TinyModel) -> None:
    """Set every value projection of the decoder to nought: no token reads another."""
    for block in blocks_of(tiny.decoder):
        for name, module in block.named_modules():
            if name.endswith("v_proj"):
                for weight in module.parameters():
                    weight.zero_()


@torch.no_grad()
def add_to_mlp(tiny: TinyModel, block: int, map_: Tensor, activations: Tensor) -> None:
    """Add a map (width, MLP width) of an MLP's activations to what a decoder block's MLP adds to its tokens.

    Where a norm stands behind the MLP (Gemma) the map is put in front of it, for `activations` (n, MLP
    width) of usual size, and the norm's gain is raised so that what the MLP wrote before keeps its size.
    """
    layer = blocks_of(tiny.decoder)[block]
    weight, norm = last_matrix(layer).weight, norm_behind_mlp(layer)
    if norm is None:
        weight.copy_(weight.double() + map_)
        return
    gain = torch.ones(()) + norm.weight.double()  # type: ignore[operator]
    x = activations.double()
    before = _size(x @ weight.double().T)
    changed = weight.double() + before * map_ / gain[:, None]
    after = _size(x @ changed.T)
    weight.copy_(changed)
    norm.weight.copy_(gain * (after / before) - 1.0)  # type: ignore[operator]


@torch.no_grad()
def added_by_mlp(block: nn.Module, activations: Tensor) -> Tensor:
    """Return what a decoder block's MLP adds to its tokens (n, width), given its activations (n, MLP width)."""
    out: Tensor = last_matrix(block)(activations.float())
    norm = norm_behind_mlp(block)
    return out if norm is None else norm(out)


def norm_behind_mlp(block: nn.Module) -> nn.Module | None:
    """Return the norm between a decoder block's MLP and its tokens, as Gemma has; None elsewhere."""
    found: nn.Module | None = getattr(block, "post_feedforward_layernorm", None)
    return found


def _size(vectors: Tensor) -> Tensor:
    return vectors.square().mean(-1).sqrt().mean()


def _matrices(module: nn.Module) -> Iterable[Tensor]:
    return (weight for weight in module.parameters() if weight.ndim == 2)


def _last_map(connector: nn.Module) -> tuple[Tensor, Tensor | None, bool]:
    """Return weight and bias of the connector's last linear map, and whether it maps columns to rows."""
    projection = getattr(connector, "mm_input_projection_weight", None)  # Gemma 3: a bare matrix
    if projection is not None:
        return projection, None, True
    last = [module for module in connector.modules() if isinstance(module, nn.Linear)][-1]
    return last.weight, last.bias, False
