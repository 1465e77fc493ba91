"""Tiny models that bring code of their own: the stand-in for Hulu-Med."""

from __future__ import annotations

from pathlib import Path

from tests.model_adapters.tiny.parts import (
    CHATML,
    HEAD_WIDTH,
    save,
    text_settings,
    tokenizer,
    vision_settings,
)


def hulu_med(
    folder: Path,
    head_width: int = HEAD_WIDTH,
    *,
    qwen: int = 3,
    vision_blocks: int = 3,
    llm_blocks: int = 3,
) -> Path:
    """Hulu-Med over Qwen2 or Qwen3: a folder that brings its own code; packed patches, any shape of picture."""
    import json
    import shutil
    from importlib import import_module

    own, kind = "tests.model_adapters.tiny.hulu_med", f"HulumedQwen{qwen}"
    model_class = getattr(import_module(f"{own}.modeling_hulumed_qwen{qwen}"), f"{kind}ForCausalLM")
    text_tokenizer = tokenizer(("<image>", "<|im_start|>", "<|im_end|>"), eos_token="<|im_end|>")
    text_tokenizer.chat_template = CHATML.replace("IMAGE", "{{ image_token }}\n")
    config = model_class.config_class(
        vision_encoder_config={**vision_settings(vision_blocks), "patch_size": 4},
        image_token_index=text_tokenizer.convert_tokens_to_ids("<image>"),
        **text_settings(
            text_tokenizer,
            head_width,
            num_hidden_layers=llm_blocks,
            **({"head_dim": head_width} if qwen == 3 else {}),
        ),
    )
    config.auto_map = {
        "AutoConfig": f"configuration_hulumed_qwen{qwen}.{kind}Config",
        "AutoModelForCausalLM": f"modeling_hulumed_qwen{qwen}.{kind}ForCausalLM",
    }
    pictures = {
        "image_processor_type": "HulumedImageProcessor",
        "processor_class": "HulumedProcessor",
        "auto_map": {
            "AutoImageProcessor": "image_processing_hulumed.HulumedImageProcessor",
            "AutoProcessor": "processing_hulumed.HulumedProcessor",
        },
        "patch_size": 4,
        "min_tokens": 16,
        "max_tokens": 200,
    }
    save(folder, config, text_tokenizer, model_class, eos=text_tokenizer.eos_token_id)
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    for file in (Path(__file__).parent / "hulu_med").glob("*.py"):
        shutil.copy(file, folder)
    return folder


def hulu_med_qwen2(
    folder: Path, head_width: int = HEAD_WIDTH, *, vision_blocks: int = 3, llm_blocks: int = 3
) -> Path:
    """Hulu-Med over Qwen2."""
    return hulu_med(folder, head_width, qwen=2, vision_blocks=vision_blocks, llm_blocks=llm_blocks)
