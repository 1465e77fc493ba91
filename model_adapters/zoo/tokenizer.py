"""The built-in models' tokenizer: byte-level BPE, trained on the prompts, in which every answer is short.

Each option letter and each word of a class wording is one token, so that a label's likelihood is spread
over as few tokens as possible. Special tokens cut the text where the answer begins; a label therefore
tokenises the same alone and after a prompt.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

PAD, BEGIN, END, IMAGE = "<pad>", "<bos>", "<eos>", "<image>"
ROLES: tuple[str, ...] = ("<|system|>", "<|user|>", "<|assistant|>")
SPECIAL_TOKENS: tuple[str, ...] = (PAD, BEGIN, END, IMAGE, *ROLES)
VOCABULARY_SIZE = 640
_ANSWER_WEIGHT = 400  # copies of each answer in the training text: its merges come first

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_tokenizer(texts: Sequence[str], wordings: Sequence[str]) -> Any:
    """Train a tokenizer on `texts` (prompts) and `wordings` (the classes' answers).

    Returns a `PreTrainedTokenizerFast` with the chat template.

    Raises:
        ValueError: if an option letter or a word of a wording did not become a single token.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        min_frequency=1,
        special_tokens=list(SPECIAL_TOKENS),
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
        extra_special_tokens=[IMAGE, *ROLES],
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    _check(tokenizer, wordings)
    return tokenizer


def _check(tokenizer: Any, wordings: Sequence[str]) -> None:
    first_words = [word.split()[0].split("-")[0] for word in wordings]
    for word in (*string.ascii_uppercase, *first_words):
        pieces = tokenizer.tokenize(word)
        if len(pieces) != 1:
            raise ValueError(f"zoo tokenizer: {word!r} became {pieces}; raise VOCABULARY_SIZE")
