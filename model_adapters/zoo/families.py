"""Open a model of each built-in family where training and the planting of faults reach in.

An opener wraps a model and its processor, fresh or loaded, as a `TinyModel`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from model_adapters.zoo.architecture import IMAGE_SIZE, PATCH_SIZE, TinyModel

MERGE = 2  # patches a side that one of Qwen2.5-VL's image tokens stands for
FRAMES = 2  # to Qwen2.5-VL a still picture is shown twice, as the two frames of a temporal patch
_SIDE = IMAGE_SIZE // PATCH_SIZE


def open_llava(model: Any, processor: Any) -> TinyModel:
    """Wrap a LLaVA."""
    inner = model.model

    def see(pixels: Tensor) -> Tensor:
        states = inner.vision_tower(pixels, output_hidden_states=True).hidden_states
        consumed: Tensor = states[model.config.vision_feature_layer]
        return consumed

    def decode(embeddings: Tensor, image: slice) -> Tensor:
        states: Tensor = inner.language_model(inputs_embeds=embeddings, use_cache=False)[0]
        return states

    return TinyModel(
        family="llava",
        model=model,
        processor=processor,
        see=see,
        connect=inner.multi_modal_projector,
        decode=decode,
        expand=lambda text: text,
        image_token="<image>",
        vision=inner.vision_tower,
        connector=inner.multi_modal_projector,
        decoder=inner.language_model,
        renamed_keys={"vision_tower.": "vision_tower.vision_model."},
    )


def open_gemma3(model: Any, processor: Any) -> TinyModel:
    """Wrap a Gemma 3, whose image tokens see each other."""
    inner = model.model

    def see(pixels: Tensor) -> Tensor:
        tokens: Tensor = inner.vision_tower(pixels).last_hidden_state
        return tokens

    def decode(embeddings: Tensor, image: slice) -> Tensor:
        kinds = torch.zeros(embeddings.shape[:2], dtype=torch.long, device=embeddings.device)
        kinds[:, image] = 1  # image tokens see each other, also forwards
        states: Tensor = inner(inputs_embeds=embeddings, token_type_ids=kinds, use_cache=False)[0]
        return states

    return TinyModel(
        family="gemma3",
        model=model,
        processor=processor,
        see=see,
        connect=inner.multi_modal_projector,
        decode=decode,
        expand=_expand_gemma3,
        image_token="<image_soft_token>",
        vision=inner.vision_tower,
        connector=inner.multi_modal_projector,
        decoder=inner.language_model,
        renamed_keys={"vision_tower.": "vision_tower.vision_model."},
    )


def _expand_gemma3(text: str) -> str:
    return text.replace("<start_of_image>", "\n\n<start_of_image><image_soft_token><end_of_image>\n\n")


def open_qwen2_5_vl(model: Any, processor: Any) -> TinyModel:
    """Wrap a Qwen2.5-VL, whose merger is the connector."""
    inner = model.model
    to_merge, to_rows = _orders()

    def see(pixels: Tensor) -> Tensor:
        count = len(pixels)
        states = inner.visual(_packed(pixels), grid_thw=_grid(count)).last_hidden_state
        tokens: Tensor = states.reshape(count, _SIDE**2, -1)[:, _windowed(model)[1]]  # in merge order
        return tokens[:, to_rows]

    def connect(tokens: Tensor) -> Tensor:
        groups = tokens[:, to_merge]  # the merger takes every four in sequence for one
        merged: Tensor = inner.visual.merger(groups.reshape(-1, groups.shape[-1]))
        return merged.reshape(len(tokens), (_SIDE // MERGE) ** 2, -1)

    def decode(embeddings: Tensor, image: slice) -> Tensor:
        places = _positions(embeddings.shape[1], image).expand(3, len(embeddings), -1)
        states: Tensor = inner.language_model(inputs_embeds=embeddings, position_ids=places, use_cache=False)[
            0
        ]
        return states

    return TinyModel(
        family="qwen2.5-vl",
        model=model,
        processor=processor,
        see=see,
        connect=connect,
        decode=decode,
        expand=lambda text: text,
        image_token="<|image_pad|>",
        vision=_Tower(inner.visual),
        connector=inner.visual.merger,
        decoder=inner.language_model,
        renamed_keys={},
    )


class _Tower(torch.nn.Module):
    """The vision tower without the merger, which is the connector."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.patch_embed, self.blocks = visual.patch_embed, visual.blocks


def _packed(pixels: Tensor) -> Tensor:
    """Cut pictures (n, 3, 64, 64) into patches (n * 64, 3 * 2 * 8 * 8), four neighbours in sequence."""
    blocks = _SIDE // MERGE
    x = pixels.reshape(len(pixels), 3, blocks, MERGE, PATCH_SIZE, blocks, MERGE, PATCH_SIZE)
    x = x.permute(0, 2, 5, 3, 6, 1, 4, 7)  # n, block row, block column, row, column, channel, y, x
    x = x.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, FRAMES, -1, -1)
    return x.reshape(len(pixels) * _SIDE**2, -1)


def _grid(count: int) -> Tensor:
    return torch.tensor([[1, _SIDE, _SIDE]]).expand(count, -1)


def _orders() -> tuple[Tensor, Tensor]:
    """Return each merge-order token's place row by row, and each row-by-row token's in merge order."""
    blocks = _SIDE // MERGE
    rows = torch.arange(_SIDE**2).reshape(blocks, MERGE, blocks, MERGE)
    to_merge = rows.permute(0, 2, 1, 3).reshape(-1)
    return to_merge, to_merge.argsort()


def _windowed(model: Any) -> tuple[Tensor, Tensor]:
    """Return the order of patches by windows, as the tower computes them, and the order back."""
    visual = model.model.visual
    blocks, window = _SIDE // MERGE, visual.window_size // MERGE // visual.patch_size
    merged = torch.arange(blocks**2).reshape(blocks // window, window, blocks // window, window)
    order = merged.permute(0, 2, 1, 3).reshape(-1)
    patches = (order[:, None] * MERGE**2 + torch.arange(MERGE**2)).reshape(-1)
    return patches, patches.argsort()


def _positions(length: int, image: slice) -> Tensor:
    """Return positions (3, 1, length): a square of image tokens at one time, text before and after it."""
    start, count = image.start, image.stop - image.start
    side = round(count**0.5)
    if side * side != count:
        raise ValueError(f"{count} image tokens are no square")
    place = torch.arange(side)
    square = torch.stack(
        [
            torch.zeros(count, dtype=torch.long),
            place.repeat_interleave(side),
            place.repeat(side),
        ]
    )
    after = torch.arange(length - image.stop) + start + side
    rows = [torch.cat([torch.arange(start), start + axis, after]) for axis in square]
    return torch.stack(rows)[:, None]


OPENERS: Mapping[str, Callable[[Any, Any], TinyModel]] = {
    "llava": open_llava,
    "qwen2.5-vl": open_qwen2_5_vl,
    "gemma3": open_gemma3,
}
