"""The built-in models' tokenizer: byte-level BPE, trained on the prompts, in which every answer is short.

Each option letter and each word of a class wording is one token, so that a label's likelihood is spread
over as few tokens as possible. Special tokens cut the text where the answer begins; a label therefore
tokenises the same alone and after a prompt.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_adapters.zoo.training.material import TrainingSet
from model_adapters.zoo.training.questions import LABEL_TEMPLATES, LETTERS_TEMPLATES

PAD, BEGIN, END = "<pad>", "<bos>", "<eos>"
ROLES: tuple[str, ...] = ("<|system|>", "<|user|>", "<|assistant|>")
VOCABULARY_SIZE = 640


@dataclass(frozen=True)
class ImageMarks:
    """How a family writes an image: `written` in a rendered prompt, `image` for each of its tokens.

    `special` holds all tokens of the family that stand for no text; `names` those that its processor
    looks up by name.
    """

    written: str
    image: str
    begin: str = ""
    end: str = ""
    special: tuple[str, ...] = ()
    names: Mapping[str, str] | None = None


MARKS: Mapping[str, ImageMarks] = {
    "llava": ImageMarks(written="<image>", image="<image>", special=("<image>",)),
    "qwen2.5-vl": ImageMarks(
        written="<|vision_start|><|image_pad|><|vision_end|>",
        image="<|image_pad|>",
        begin="<|vision_start|>",
        end="<|vision_end|>",
        special=("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"),
    ),
    "gemma3": ImageMarks(
        written="<start_of_image>",
        image="<image_soft_token>",
        begin="<start_of_image>",
        end="<end_of_image>",
        special=("<start_of_image>", "<image_soft_token>", "<end_of_image>"),
        names={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
    ),
}
_ANSWER_WEIGHT = 400  # copies of each answer in the training text: its merges come first

_CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_tokenizer(texts: Sequence[str], wordings: Sequence[str], family: str = "llava") -> Any:
    """Train a tokenizer on `texts` (prompts) and `wordings` (the classes' answers).

    Returns a `PreTrainedTokenizerFast` with the family's image tokens and chat template.

    Raises:
        ValueError: if an option letter or a word of a wording did not become a single token.
    """
    marks = MARKS[family]
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        min_frequency=1,
        special_tokens=[PAD, BEGIN, END, *marks.special, *ROLES],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    answers = [form for word in wordings for form in (word, f" {word}")]
    core.train_from_iterator([*texts, *(answers * _ANSWER_WEIGHT)], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        extra_special_tokens=_named(marks),
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = _CHAT_TEMPLATE.replace("IMAGE", marks.written)
    _check(tokenizer, wordings)
    return tokenizer


def vocabulary_text(sets: tuple[TrainingSet, ...]) -> Iterator[str]:
    """Yield every template with its words, the text from which the tokenizer learns."""
    for source in sets:
        lists = (
            ", ".join(source.wordings),
            "\n".join(
                f"{letter}) {word}"
                for letter, word in zip(string.ascii_uppercase, source.wordings, strict=False)
            ),
        )
        for template in (*source.label_prompts, *source.letters_prompts):
            yield template.replace("{classes}", lists[0]).replace("{options}", lists[1])
        for template in (*LABEL_TEMPLATES, *LETTERS_TEMPLATES):
            for subject in source.subjects:
                yield (
                    template.replace("{subject}", subject)
                    .replace("{classes}", lists[0])
                    .replace("{options}", lists[1])
                )


def _named(marks: ImageMarks) -> Any:
    """Special tokens as the tokenizer's class takes them: a list, or by name where a processor asks."""
    if marks.names is None:
        return [*marks.special, *ROLES]
    return dict(marks.names)


def _check(tokenizer: Any, wordings: Sequence[str]) -> None:
    first_words = [word.split()[0].split("-")[0] for word in wordings]
    for word in (*string.ascii_uppercase, *first_words):
        pieces = tokenizer.tokenize(word)
        if len(pieces) != 1:
            raise ValueError(f"zoo tokenizer: {word!r} became {pieces}; raise VOCABULARY_SIZE")
