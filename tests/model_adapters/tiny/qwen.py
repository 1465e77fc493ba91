"""Tiny models of the Qwen-VL families: patches packed into one sequence, and a merger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.model_adapters.tiny.parts import CHATML, HEAD_WIDTH, TEXT, Parts, save, text_settings, tokenizer


def _qwen(folder: Path, name: str, vision: dict[str, Any], head_width: int, **text: Any) -> Path:
    import transformers

    special = (
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    )
    text_tokenizer = tokenizer(special, eos_token="<|im_end|>")
    ids = {token: text_tokenizer.convert_tokens_to_ids(token) for token in special}
    config = getattr(transformers, f"{name}Config")(
        vision_config=vision,
        text_config=text_settings(
            text_tokenizer, head_width, **text, rope_parameters=_rope(name, head_width)
        ),
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    patch = vision["patch_size"]
    image_processor = transformers.Qwen2VLImageProcessorPil(
        patch_size=patch, merge_size=2, min_pixels=4 * patch**2, max_pixels=64 * patch**2
    )
    template = CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    eos = ids["<|im_end|>"]
    folder.mkdir(parents=True, exist_ok=True)
    model_class = getattr(transformers, f"{name}ForConditionalGeneration")
    image_processor.save_pretrained(folder)
    text_tokenizer.chat_template = template
    return save(
        folder, config, Parts(f"{name}Processor", image_processor, text_tokenizer), model_class, eos=eos
    )


def _rope(name: str, head_width: int) -> dict[str, Any]:
    """Rotary positions of a picture in time, height and width: their share of half a head's dimensions."""
    sections = [head_width // 8, 3 * head_width // 16, 3 * head_width // 16]
    interleaved = {"mrope_interleaved": True} if name == "Qwen3VL" else {}  # transformers needs no telling
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": sections, **interleaved}


def qwen2_vl(
    folder: Path, head_width: int = HEAD_WIDTH, *, vision_blocks: int = 3, llm_blocks: int = 3
) -> Path:
    """Qwen2-VL: packed patches, 2x2 merger, multimodal rotary positions."""
    vision = {
        "depth": vision_blocks,
        "embed_dim": 32,
        "hidden_size": TEXT["num_attention_heads"] * head_width,
        "num_heads": 2,
        "mlp_ratio": 2,
        "patch_size": 4,
        "initializer_range": 0.2,
    }
    return _qwen(folder, "Qwen2VL", vision, head_width, num_hidden_layers=llm_blocks)


def qwen2_5_vl(
    folder: Path, head_width: int = HEAD_WIDTH, *, vision_blocks: int = 3, llm_blocks: int = 3
) -> Path:
    """Qwen2.5-VL: as Qwen2-VL, with window attention in all vision blocks but one."""
    vision = {
        "depth": vision_blocks,
        "hidden_size": 32,
        "out_hidden_size": TEXT["num_attention_heads"] * head_width,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 4,
        "window_size": 16,
        "fullatt_block_indexes": list(range(7, vision_blocks, 8)) or [1],
        "initializer_range": 0.2,
    }
    return _qwen(folder, "Qwen2_5_VL", vision, head_width, num_hidden_layers=llm_blocks)


def qwen3_vl(
    folder: Path, head_width: int = HEAD_WIDTH, *, vision_blocks: int = 4, llm_blocks: int = 3
) -> Path:
    """Qwen3-VL: deep-stack mergers beside the main one."""
    vision = {
        "depth": vision_blocks,
        "hidden_size": 32,
        "out_hidden_size": TEXT["num_attention_heads"] * head_width,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 4,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 2],
        "initializer_range": 0.2,
    }
    return _qwen(folder, "Qwen3VL", vision, head_width, head_dim=head_width, num_hidden_layers=llm_blocks)
