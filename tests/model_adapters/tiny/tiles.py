"""Tiny models that cut a picture into tiles: InternVL, Idefics 3 and SmolVLM."""

from __future__ import annotations

from pathlib import Path

from tests.model_adapters.tiny.parts import (
    CHATML,
    HEAD_WIDTH,
    VISION,
    Parts,
    save,
    text_settings,
    tokenizer,
    vision_settings,
)


def internvl(
    folder: Path, head_width: int = HEAD_WIDTH, *, vision_blocks: int = 3, llm_blocks: int = 3
) -> Path:
    """InternVL: tiles, class token, pixel shuffle, Qwen2 decoder."""
    from transformers import (
        GotOcr2ImageProcessorPil,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLVisionConfig,
        Qwen2Config,
    )

    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    special = ("<|im_start|>", "<|im_end|>", *named.values())
    text_tokenizer = tokenizer(special, eos_token="<|im_end|>", extra_special_tokens=named)
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(
            **vision_settings(vision_blocks), image_size=[32, 32], patch_size=[8, 8]
        ),
        text_config=Qwen2Config(**text_settings(text_tokenizer, head_width, num_hidden_layers=llm_blocks)),
        image_token_id=text_tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    text_tokenizer.chat_template = CHATML.replace("IMAGE", "<IMG_CONTEXT>\n")
    image_processor = GotOcr2ImageProcessorPil(
        size={"height": 32, "width": 32}, crop_to_patches=True, min_patches=1, max_patches=4
    )
    parts = Parts("InternVLProcessor", image_processor, text_tokenizer, image_seq_length=4)
    folder.mkdir(parents=True, exist_ok=True)
    return save(folder, config, parts, InternVLForConditionalGeneration, eos=text_tokenizer.eos_token_id)


def idefics3(folder: Path, head_width: int = HEAD_WIDTH) -> Path:
    """Idefics3: tiles between row and column tokens, pixel shuffle, Llama decoder."""
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
        Idefics3Processor,
        LlamaConfig,
    )
    from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

    special = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>")
    text_tokenizer = tokenizer(special, vocabulary=340, begins=True)
    config = Idefics3Config(
        vision_config=Idefics3VisionConfig(**VISION, image_size=32, patch_size=8),
        text_config=LlamaConfig(**text_settings(text_tokenizer, head_width)),
        image_token_id=text_tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    template = (
        "<s>{% for message in messages %}{{ message['role'].capitalize() }}:"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
        "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<end_of_utterance>\n{% endfor %}"
        "{% if add_generation_prompt %}Assistant:{% endif %}"
    )
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(
            size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True
        ),
        tokenizer=text_tokenizer,
        image_seq_len=4,
        chat_template=template,
    )
    eos = text_tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    return save(folder, config, processor, Idefics3ForConditionalGeneration, eos=eos)


def smolvlm(folder: Path, head_width: int = HEAD_WIDTH) -> Path:
    """SmolVLM: as Idefics3, with a processor whose video half wants num2words and torchvision."""
    from transformers import (
        LlamaConfig,
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessorPil,
    )
    from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig

    named = {
        "fake_image_token": "<fake_token_around_image>",
        "image_token": "<image>",
        "end_of_utterance_token": "<end_of_utterance>",
        "global_image_token": "<global-img>",
    }
    special = ("<|im_start|>", *named.values(), "<row_1_col_1>", "<row_1_col_2>")
    text_tokenizer = tokenizer(special, vocabulary=340, extra_special_tokens=named)
    config = SmolVLMConfig(
        vision_config=SmolVLMVisionConfig(**VISION, image_size=32, patch_size=8),
        text_config=LlamaConfig(**text_settings(text_tokenizer, head_width)),
        image_token_id=text_tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    text_tokenizer.chat_template = (
        "<|im_start|>{% for message in messages %}{{ message['role'].capitalize() }}: "
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
        "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<end_of_utterance>\n{% endfor %}"
        "{% if add_generation_prompt %}Assistant:{% endif %}"
    )
    image_processor = SmolVLMImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True
    )
    parts = Parts("SmolVLMProcessor", image_processor, text_tokenizer, image_seq_len=4)
    folder.mkdir(parents=True, exist_ok=True)
    eos = text_tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    return save(folder, config, parts, SmolVLMForConditionalGeneration, eos=eos)
