"""Tiny models whose connector reads the tokens of a whole tower: the LLaVA family, and Gemma 3."""

from __future__ import annotations

from pathlib import Path

from tests.model_adapters.tiny.parts import (
    CHATML,
    GEMMA,
    HEAD_WIDTH,
    VICUNA,
    VISION,
    save,
    text_settings,
    tokenizer,
    vision_settings,
)


def llava_clip(
    folder: Path,
    head_width: int = HEAD_WIDTH,
    *,
    vision_blocks: int = 3,
    llm_blocks: int = 3,
    language_model: str = "Llama",
) -> Path:
    """LLaVA with a CLIP tower (class token dropped, second-last layer consumed) and a Vicuna template."""
    import transformers
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    text_tokenizer = tokenizer(("<image>",), begins=True)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            **vision_settings(vision_blocks), image_size=32, patch_size=8, projection_dim=16
        ),
        text_config=getattr(transformers, f"{language_model}Config")(
            **text_settings(text_tokenizer, head_width, num_hidden_layers=llm_blocks)
        ),
        image_token_index=text_tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        tokenizer=text_tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=VICUNA,
    )
    return save(folder, config, processor, LlavaForConditionalGeneration, eos=2)


def llava_siglip(folder: Path, head_width: int = HEAD_WIDTH) -> Path:
    """LLaVA with a SigLIP tower: no class token, last layer consumed."""
    from transformers import (
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        SiglipImageProcessorPil,
        SiglipVisionConfig,
    )

    text_tokenizer = tokenizer(("<image>", "<|im_start|>", "<|im_end|>"), eos_token="<|im_end|>")
    config = LlavaConfig(
        vision_config=SiglipVisionConfig(**VISION, image_size=32, patch_size=8, vision_use_head=False),
        text_config=LlamaConfig(**text_settings(text_tokenizer, head_width)),
        image_token_index=text_tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    processor = LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size={"height": 32, "width": 32}),
        tokenizer=text_tokenizer,
        patch_size=8,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=CHATML.replace("IMAGE", "<image>\n"),
    )
    return save(folder, config, processor, LlavaForConditionalGeneration, eos=text_tokenizer.eos_token_id)


def llava_next(folder: Path, head_width: int = HEAD_WIDTH) -> Path:
    """LLaVA-NeXT: tiles, as many as the picture's shape asks for; the tokenizer begins prompts."""
    from transformers import (
        CLIPVisionConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessorPil,
        LlavaNextProcessor,
        MistralConfig,
    )

    text_tokenizer = tokenizer(("<image>",), begins=True)
    pinpoints = [[32, 64], [64, 32], [64, 64]]
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VISION, image_size=32, patch_size=8, projection_dim=16),
        text_config=MistralConfig(
            **text_settings(text_tokenizer, head_width), sliding_window=None, head_dim=head_width
        ),
        image_token_index=text_tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=pinpoints,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    processor = LlavaNextProcessor(
        image_processor=LlavaNextImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_grid_pinpoints=pinpoints
        ),
        tokenizer=text_tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=VICUNA.removeprefix("{{ bos_token }}"),
    )
    return save(folder, config, processor, LlavaNextForConditionalGeneration, eos=2)


def gemma3(
    folder: Path, head_width: int = HEAD_WIDTH, *, vision_blocks: int = 3, llm_blocks: int = 4
) -> Path:
    """Gemma 3: sliding-window layers narrower than the prompt, bidirectional image tokens."""
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessorPil,
        Gemma3Processor,
        Gemma3TextConfig,
        SiglipVisionConfig,
    )

    named = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }
    special = ("<start_of_turn>", "<end_of_turn>", *named.values())
    text_tokenizer = tokenizer(special, begins=True, extra_special_tokens=named)
    ids = {name: text_tokenizer.convert_tokens_to_ids(token) for name, token in named.items()}
    config = Gemma3Config(
        vision_config=SiglipVisionConfig(
            **vision_settings(vision_blocks), image_size=32, patch_size=4, vision_use_head=False
        ),
        text_config=Gemma3TextConfig(
            **text_settings(
                text_tokenizer,
                head_width,
                num_hidden_layers=llm_blocks,
                head_dim=head_width,
                sliding_window=20,
                layer_types=(["sliding_attention", "full_attention"] * llm_blocks)[:llm_blocks],
                query_pre_attn_scalar=head_width,
            )
        ),
        mm_tokens_per_image=16,
        boi_token_index=ids["boi_token"],
        eoi_token_index=ids["eoi_token"],
        image_token_index=ids["image_token"],
    )
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": 32, "width": 32}),
        tokenizer=text_tokenizer,
        image_seq_length=16,
        chat_template=GEMMA,
    )
    eos = text_tokenizer.convert_tokens_to_ids("<end_of_turn>")
    return save(folder, config, processor, Gemma3ForConditionalGeneration, eos=eos)
