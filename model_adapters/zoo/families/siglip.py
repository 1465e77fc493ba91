"""The SigLIP vision tower that the LLaVA and Gemma 3 families share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model_adapters.zoo.architecture import IMAGE_SIZE, PATCH_SIZE, Scale


def vision_config(scale: Scale) -> Any:
    """Return the tower's configuration: square images, no class token, no pooling head."""
    from transformers import SiglipVisionConfig

    return SiglipVisionConfig(
        hidden_size=scale.width,
        intermediate_size=scale.vision_mlp,
        num_hidden_layers=scale.vision_layers,
        num_attention_heads=scale.heads,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        vision_use_head=False,
    )


def start_positions(tower: Any) -> None:
    """Give an untrained tower the positions of a grid to start from."""
    positions = tower.embeddings.position_embedding.weight
    positions.data.copy_(grid_positions(positions.shape[1]))


def grid_positions(width: int) -> Tensor:
    """Return small sines and cosines of each patch's row and column, (64, width), to start from."""
    side = IMAGE_SIZE // PATCH_SIZE
    rate = 100.0 ** (-torch.arange(width // 4) / (width // 4))
    place = torch.arange(side).float()[:, None] * rate
    wave = torch.cat([place.sin(), place.cos()], dim=1)
    rows = wave[:, None].expand(side, side, -1)
    columns = wave[None].expand(side, side, -1)
    return 0.1 * torch.cat([rows, columns], dim=2).reshape(side * side, width)
