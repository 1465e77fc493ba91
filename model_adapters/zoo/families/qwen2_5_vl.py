"""Tiny Qwen2.5-VL: packed patches, window attention, a merger of 2 x 2 patches, 3-D rotary positions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model_adapters.zoo.architecture import IMAGE_SIZE, PATCH_SIZE, Scale, TinyModel
from model_adapters.zoo.training.tokenizer import MARKS, PAD

MERGE = 2  # patches a side that one image token stands for
_FRAMES = 2  # a still picture is shown twice, as the two frames of a temporal patch
_WINDOW = 32  # pixels a side of an attention window
_SIDE = IMAGE_SIZE // PATCH_SIZE
_MARKS = MARKS["qwen2.5-vl"]


def build(tokenizer: Any, scale: Scale) -> TinyModel:
    """Make an untrained model with its processor."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids = {word: tokenizer.convert_tokens_to_ids(word) for word in _MARKS.special}
    config = Qwen2_5_VLConfig(
        vision_config=_vision_config(scale),
        text_config=_decoder_config(tokenizer, scale),
        image_token_id=ids[_MARKS.image],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids[_MARKS.begin],
        vision_end_token_id=ids[_MARKS.end],
        tie_word_embeddings=False,
    )
    return open_up(Qwen2_5_VLForConditionalGeneration(config), _Processor(tokenizer))


def open_up(model: Any, processor: Any) -> TinyModel:
    """Wrap a model of this family, fresh or loaded."""
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
        image_token=_MARKS.image,
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
    x = x.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, _FRAMES, -1, -1)
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


def _vision_config(scale: Scale) -> dict[str, Any]:
    return {
        "depth": scale.vision_layers,
        "hidden_size": scale.width,
        "out_hidden_size": scale.width,
        "intermediate_size": scale.vision_mlp,
        "num_heads": scale.heads,
        "patch_size": PATCH_SIZE,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": _FRAMES,
        "window_size": _WINDOW,
        "fullatt_block_indexes": [1, scale.vision_layers - 1],
        "initializer_range": scale.initial_deviation,
    }


def _decoder_config(tokenizer: Any, scale: Scale) -> dict[str, Any]:
    half = scale.width // scale.heads // 2
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": scale.width,
        "intermediate_size": scale.decoder_mlp,
        "num_hidden_layers": scale.decoder_layers,
        "num_attention_heads": scale.heads,
        "num_key_value_heads": scale.heads,
        "max_position_embeddings": 1024,
        "initializer_range": scale.initial_deviation,
        "tie_word_embeddings": False,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8],
        },
        "pad_token_id": tokenizer.convert_tokens_to_ids(PAD),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


class _Processor:
    """Image and text half of the processor; its video half cannot be made without torchvision."""

    def __init__(self, tokenizer: Any) -> None:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        self.tokenizer = tokenizer
        self.image_processor = Qwen2VLImageProcessorPil(
            patch_size=PATCH_SIZE,
            merge_size=MERGE,
            temporal_patch_size=_FRAMES,
            min_pixels=IMAGE_SIZE**2,
            max_pixels=IMAGE_SIZE**2,
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
        )

    def save_pretrained(self, directory: Any) -> None:
        """Write the files that a released model's processor has."""
        import json
        from pathlib import Path

        self.tokenizer.save_pretrained(directory)
        self.image_processor.save_pretrained(directory)
        file = Path(directory) / "preprocessor_config.json"
        stored = json.loads(file.read_text(encoding="utf-8"))
        stored["processor_class"] = "Qwen2_5_VLProcessor"
        file.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n", encoding="utf-8")
