"""Tiny models of the real architectures, random weights, saved as ordinary Hugging Face folders.

Built from the library's own configuration classes, so that the code under test loads them exactly as it
loads a released model. Vocabulary: bytes, a few merges, and each family's special tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = (
    "What does the ultrasound image show? Answer with one word: normal, benign or malignant.",
    "normal benign malignant cyst calcified pneumonia A B C D E",
    "user assistant system model USER: ASSISTANT: end of utterance",
)
TEXT = {
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,
}
HEAD_WIDTH = 16  # of the decoder's attention, by default; some engines have no kernel for so narrow a head
VISION = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "initializer_range": 0.2,
}
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VICUNA = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'].upper() }}: "
    "{% if message['content'] is string %}{{ message['content'] }} {% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else 'user' }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<start_of_image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def tokenizer(
    special: tuple[str, ...], *, vocabulary: int = 320, begins: bool = False, **options: Any
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; `special` tokens follow `<pad>`, `<s>` and `</s>`.

    With `begins` it puts `<s>` before every text, as those of Llama and Gemma do.
    """
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    named = ("<pad>", "<s>", "</s>", *special)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(named),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    if begins:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    named_tokens = options.pop("extra_special_tokens", {})
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token=options.pop("eos_token", "</s>"),
        pad_token="<pad>",
        extra_special_tokens=named_tokens,
        **options,
    )


def _save(folder: Path, config: Any, processor: Any, model_class: Any, *, eos: int, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    model = model_class(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "norm" not in name.lower():
                parameter.normal_(0, 0.1)
            elif parameter.ndim > 1 and not parameter.any():
                parameter.normal_(0, 0.2)  # Gemma 3's connector begins as zeros and would show nothing
    model.generation_config.eos_token_id = eos
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _text(text_tokenizer: PreTrainedTokenizerFast, head_width: int, **changes: Any) -> dict[str, Any]:
    ends = {"bos_token_id": 1, "eos_token_id": text_tokenizer.eos_token_id, "pad_token_id": 0}
    sizes = {"hidden_size": TEXT["num_attention_heads"] * head_width, "vocab_size": len(text_tokenizer) + 8}
    return {**TEXT, **sizes, **ends, **changes}


def _vision(blocks: int) -> dict[str, Any]:
    return {**VISION, "num_hidden_layers": blocks}


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
            **_vision(vision_blocks), image_size=32, patch_size=8, projection_dim=16
        ),
        text_config=getattr(transformers, f"{language_model}Config")(
            **_text(text_tokenizer, head_width, num_hidden_layers=llm_blocks)
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
    return _save(folder, config, processor, LlavaForConditionalGeneration, eos=2)


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
        text_config=LlamaConfig(**_text(text_tokenizer, head_width)),
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
    return _save(folder, config, processor, LlavaForConditionalGeneration, eos=text_tokenizer.eos_token_id)


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
            **_text(text_tokenizer, head_width), sliding_window=None, head_dim=head_width
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
    return _save(folder, config, processor, LlavaNextForConditionalGeneration, eos=2)


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
        text_config=_text(text_tokenizer, head_width, **text, rope_parameters=_rope(name, head_width)),
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
    return _save(
        folder, config, _Parts(f"{name}Processor", image_processor, text_tokenizer), model_class, eos=eos
    )


class _Parts:
    """Saves a processor whose video half cannot be made without torchvision, as released models store it."""

    def __init__(self, name: str, image_processor: Any, text_tokenizer: Any, **settings: Any) -> None:
        self.name, self.image_processor, self.tokenizer, self.settings = (
            name,
            image_processor,
            text_tokenizer,
            settings,
        )

    def save_pretrained(self, folder: Path) -> None:
        import json

        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)
        stored = json.loads((folder / "preprocessor_config.json").read_text())
        stored["processor_class"] = self.name
        (folder / "preprocessor_config.json").write_text(json.dumps(stored))
        whole = {"processor_class": self.name, **self.settings}
        (folder / "processor_config.json").write_text(json.dumps(whole))


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
            **_vision(vision_blocks), image_size=32, patch_size=4, vision_use_head=False
        ),
        text_config=Gemma3TextConfig(
            **_text(
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
    return _save(folder, config, processor, Gemma3ForConditionalGeneration, eos=eos)


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
        vision_config=InternVLVisionConfig(**_vision(vision_blocks), image_size=[32, 32], patch_size=[8, 8]),
        text_config=Qwen2Config(**_text(text_tokenizer, head_width, num_hidden_layers=llm_blocks)),
        image_token_id=text_tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    text_tokenizer.chat_template = CHATML.replace("IMAGE", "<IMG_CONTEXT>\n")
    image_processor = GotOcr2ImageProcessorPil(
        size={"height": 32, "width": 32}, crop_to_patches=True, min_patches=1, max_patches=4
    )
    parts = _Parts("InternVLProcessor", image_processor, text_tokenizer, image_seq_length=4)
    folder.mkdir(parents=True, exist_ok=True)
    return _save(folder, config, parts, InternVLForConditionalGeneration, eos=text_tokenizer.eos_token_id)


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
        text_config=LlamaConfig(**_text(text_tokenizer, head_width)),
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
    return _save(folder, config, processor, Idefics3ForConditionalGeneration, eos=eos)


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
        text_config=LlamaConfig(**_text(text_tokenizer, head_width)),
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
    parts = _Parts("SmolVLMProcessor", image_processor, text_tokenizer, image_seq_len=4)
    folder.mkdir(parents=True, exist_ok=True)
    eos = text_tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    return _save(folder, config, parts, SmolVLMForConditionalGeneration, eos=eos)


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

    own, kind = "tests.engines.hulu_med", f"HulumedQwen{qwen}"
    model_class = getattr(import_module(f"{own}.modeling_hulumed_qwen{qwen}"), f"{kind}ForCausalLM")
    text_tokenizer = tokenizer(("<image>", "<|im_start|>", "<|im_end|>"), eos_token="<|im_end|>")
    text_tokenizer.chat_template = CHATML.replace("IMAGE", "{{ image_token }}\n")
    config = model_class.config_class(
        vision_encoder_config={**_vision(vision_blocks), "patch_size": 4},
        image_token_index=text_tokenizer.convert_tokens_to_ids("<image>"),
        **_text(
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
    _save(folder, config, text_tokenizer, model_class, eos=text_tokenizer.eos_token_id)
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    for file in (Path(__file__).parent / "hulu_med").glob("*.py"):
        shutil.copy(file, folder)
    return folder


def hulu_med_qwen2(
    folder: Path, head_width: int = HEAD_WIDTH, *, vision_blocks: int = 3, llm_blocks: int = 3
) -> Path:
    """Hulu-Med over Qwen2."""
    return hulu_med(folder, head_width, qwen=2, vision_blocks=vision_blocks, llm_blocks=llm_blocks)


BUILDERS: dict[str, Callable[..., Path]] = {
    "llava_clip": llava_clip,
    "llava_siglip": llava_siglip,
    "llava_next": llava_next,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "gemma3": gemma3,
    "internvl": internvl,
    "idefics3": idefics3,
    "smolvlm": smolvlm,
}
WITH_OWN_CODE: dict[str, Callable[..., Path]] = {"hulu_med": hulu_med, "hulu_med_qwen2": hulu_med_qwen2}
