"""What tiny models are made of: sizes, chat templates, a tokenizer, and how they are saved."""

from __future__ import annotations

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


def save(folder: Path, config: Any, processor: Any, model_class: Any, *, eos: int, seed: int = 0) -> Path:
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


def text_settings(text_tokenizer: PreTrainedTokenizerFast, head_width: int, **changes: Any) -> dict[str, Any]:
    ends = {"bos_token_id": 1, "eos_token_id": text_tokenizer.eos_token_id, "pad_token_id": 0}
    sizes = {"hidden_size": TEXT["num_attention_heads"] * head_width, "vocab_size": len(text_tokenizer) + 8}
    return {**TEXT, **sizes, **ends, **changes}


def vision_settings(blocks: int) -> dict[str, Any]:
    return {**VISION, "num_hidden_layers": blocks}


class Parts:
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
