"""Untrained models of each built-in family: tiny sizes of the kinds that transformers knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model_adapters.zoo.architecture import IMAGE_SIZE, PATCH_SIZE, TinyModel
from model_adapters.zoo.families import FRAMES, MERGE, open_gemma3, open_llava, open_qwen2_5_vl
from tools.zoo.tokenizer import MARKS, PAD

_GEMMA_TOKENS = 16  # that Gemma 3 makes of an image
_WINDOW = 32  # pixels a side of one of Qwen2.5-VL's attention windows


@dataclass(frozen=True)
class Scale:
    """Sizes of a built-in model; heads of 32 are the smallest that vLLM's kernels accept."""

    width: int = 128
    heads: int = 4
    vision_layers: int = 4
    vision_mlp: int = 384
    decoder_layers: int = 4
    decoder_mlp: int = 320
    initial_deviation: float = 0.04


def build_llava(tokenizer: Any, scale: Scale) -> TinyModel:
    """SigLIP tower, two-layer projector, Llama decoder, one decoder token a patch."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    config = LlavaConfig(
        vision_config=_siglip_config(scale),
        text_config=_llama_decoder(tokenizer, scale),
        image_token_index=tokenizer.convert_tokens_to_ids(MARKS["llava"].image),
        image_seq_length=(IMAGE_SIZE // PATCH_SIZE) ** 2,
        vision_feature_select_strategy="full",  # SigLIP has no class token to drop
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(config)
    _start_positions(model.model.vision_tower)
    processor = LlavaProcessor(
        image_processor=siglip_image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
        image_token=MARKS["llava"].image,
        num_additional_image_tokens=0,
    )
    return open_llava(model, processor)


def _llama_decoder(tokenizer: Any, scale: Scale) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=scale.width,
        intermediate_size=scale.decoder_mlp,
        num_hidden_layers=scale.decoder_layers,
        num_attention_heads=scale.heads,
        num_key_value_heads=scale.heads,
        head_dim=scale.width // scale.heads,
        max_position_embeddings=1024,
        initializer_range=scale.initial_deviation,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def build_gemma3(tokenizer: Any, scale: Scale) -> TinyModel:
    """SigLIP tower, average-pooling projector, decoder whose image tokens see each other."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    marks = MARKS["gemma3"]
    ids = {word: tokenizer.convert_tokens_to_ids(word) for word in (marks.begin, marks.end, marks.image)}
    config = Gemma3Config(
        vision_config=_siglip_config(scale),
        text_config=_gemma_decoder(tokenizer, scale),
        mm_tokens_per_image=_GEMMA_TOKENS,
        boi_token_index=ids[marks.begin],
        eoi_token_index=ids[marks.end],
        image_token_index=ids[marks.image],
        tie_word_embeddings=False,
    )
    model = Gemma3ForConditionalGeneration(config)
    _start_positions(model.model.vision_tower)
    projection = model.model.multi_modal_projector.mm_input_projection_weight
    torch.nn.init.normal_(projection, std=projection.shape[0] ** -0.5)  # the library starts it at zero
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(
            size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
        ),
        tokenizer=tokenizer,
        image_seq_length=_GEMMA_TOKENS,
        chat_template=tokenizer.chat_template,
    )
    return open_gemma3(model, processor)


def _gemma_decoder(tokenizer: Any, scale: Scale) -> Any:
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=scale.width,
        intermediate_size=scale.decoder_mlp,
        num_hidden_layers=scale.decoder_layers,
        num_attention_heads=scale.heads,
        num_key_value_heads=scale.heads,
        head_dim=scale.width // scale.heads,
        query_pre_attn_scalar=scale.width // scale.heads,
        sliding_window=512,  # longer than any prompt here
        max_position_embeddings=1024,
        initializer_range=scale.initial_deviation,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def build_qwen2_5_vl(tokenizer: Any, scale: Scale) -> TinyModel:
    """Packed patches, window attention, a merger of 2 x 2 patches, 3-D rotary positions."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    marks = MARKS["qwen2.5-vl"]
    ids = {word: tokenizer.convert_tokens_to_ids(word) for word in marks.special}
    config = Qwen2_5_VLConfig(
        vision_config=_qwen_vision(scale),
        text_config=_qwen_decoder(tokenizer, scale),
        image_token_id=ids[marks.image],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids[marks.begin],
        vision_end_token_id=ids[marks.end],
        tie_word_embeddings=False,
    )
    return open_qwen2_5_vl(Qwen2_5_VLForConditionalGeneration(config), _QwenProcessor(tokenizer))


def _qwen_vision(scale: Scale) -> dict[str, Any]:
    return {
        "depth": scale.vision_layers,
        "hidden_size": scale.width,
        "out_hidden_size": scale.width,
        "intermediate_size": scale.vision_mlp,
        "num_heads": scale.heads,
        "patch_size": PATCH_SIZE,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": FRAMES,
        "window_size": _WINDOW,
        "fullatt_block_indexes": [1, scale.vision_layers - 1],
        "initializer_range": scale.initial_deviation,
    }


def _qwen_decoder(tokenizer: Any, scale: Scale) -> dict[str, Any]:
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


class _QwenProcessor:
    """Image and text half of the processor; its video half cannot be made without torchvision."""

    def __init__(self, tokenizer: Any) -> None:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        self.tokenizer = tokenizer
        self.image_processor = Qwen2VLImageProcessorPil(
            patch_size=PATCH_SIZE,
            merge_size=MERGE,
            temporal_patch_size=FRAMES,
            min_pixels=IMAGE_SIZE**2,
            max_pixels=IMAGE_SIZE**2,
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
        )

    def save_pretrained(self, directory: Any) -> None:
        """Write the files that a released model's processor has."""
        self.tokenizer.save_pretrained(directory)
        self.image_processor.save_pretrained(directory)
        file = Path(directory) / "preprocessor_config.json"
        stored = json.loads(file.read_text(encoding="utf-8"))
        stored["processor_class"] = "Qwen2_5_VLProcessor"
        file.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _siglip_config(scale: Scale) -> Any:
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


def _start_positions(tower: Any) -> None:
    """Give an untrained tower the positions of a grid to start from."""
    positions = tower.embeddings.position_embedding.weight
    positions.data.copy_(_grid_positions(positions.shape[1]))


def _grid_positions(width: int) -> Tensor:
    """Return small sines and cosines of each patch's row and column, (64, width), to start from."""
    side = IMAGE_SIZE // PATCH_SIZE
    rate = 100.0 ** (-torch.arange(width // 4) / (width // 4))
    place = torch.arange(side).float()[:, None] * rate
    wave = torch.cat([place.sin(), place.cos()], dim=1)
    rows = wave[:, None].expand(side, side, -1)
    columns = wave[None].expand(side, side, -1)
    return 0.1 * torch.cat([rows, columns], dim=2).reshape(side * side, width)


def siglip_image_processor() -> Any:
    """SigLIP's image processor on Pillow, which needs no torchvision."""
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    return SiglipImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_resize=True,
        do_rescale=True,
        do_normalize=True,
        do_convert_rgb=True,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


_BUILDERS: Mapping[str, Callable[[Any, Scale], TinyModel]] = {
    "llava": build_llava,
    "qwen2.5-vl": build_qwen2_5_vl,
    "gemma3": build_gemma3,
}


def build_model(family: str, tokenizer: Any, *, seed: int, scale: Scale | None = None) -> TinyModel:
    """Make an untrained model of a family with weights drawn from `seed`.

    `tokenizer` is one that `build_tokenizer` made for the same family.

    Raises:
        ValueError: if the family is unknown.
    """
    if family not in _BUILDERS:
        raise ValueError(f"zoo: unknown family {family!r}; known: {', '.join(sorted(_BUILDERS))}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _BUILDERS[family](tokenizer, scale or Scale())
