"""Batches of dialogues as embeddings: begin, user, image, prompt, assistant, answer, end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.training.questions import QuestionAnswer


@dataclass(frozen=True)
class Dialogues:
    """Token ids padded on the right; `before` and `after` the image, whose place is the same in all.

    `targets` has the shape of `after` and holds the next token where an answer is to be learnt, else -100.
    """

    before: Tensor
    after: Tensor
    targets: Tensor


def encode(tiny: TinyModel, questions: Sequence[QuestionAnswer]) -> Dialogues:
    """Render questions and answers with the model's own chat template and tokenise them."""
    tokenizer = tiny.processor.tokenizer
    image, pad = tokenizer.convert_tokens_to_ids(tiny.image_token), tokenizer.pad_token_id
    before: list[int] = []
    rows, targets = [], []
    for question in questions:
        prompt = _ids(tokenizer, render(tiny, question.prompt))
        answer = [*_ids(tokenizer, question.answer), tokenizer.eos_token_id]
        place = prompt.index(image)
        before, rest = prompt[:place], prompt[place + 1 :]
        rows.append(rest + answer[:-1])
        targets.append([-100] * (len(rest) - 1) + answer)
    length = max(map(len, rows))
    return Dialogues(
        torch.tensor([before] * len(rows)),
        torch.tensor([row + [pad] * (length - len(row)) for row in rows]),
        torch.tensor([row + [-100] * (length - len(row)) for row in targets]),
    )


def render(tiny: TinyModel, prompt: str) -> str:
    """Return the user's turn with an image, up to where the answer begins, as one string.

    One image token stands for all of the image's.
    """
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    text: str = tiny.processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return tiny.expand(text)


def loss(tiny: TinyModel, dialogues: Dialogues, images: Tensor) -> Tensor:
    """Mean cross-entropy of the answer tokens; `images` are embeddings (n, image tokens, width)."""
    embeddings = torch.cat([tiny.embed(dialogues.before), images, tiny.embed(dialogues.after)], dim=1)
    begin = dialogues.before.shape[1]
    states = tiny.decode(embeddings, slice(begin, begin + images.shape[1]))
    hidden = states[:, -dialogues.after.shape[1] :]
    answered = dialogues.targets != -100
    return functional.cross_entropy(tiny.head(hidden[answered]), dialogues.targets[answered])


def batch_loss(tiny: TinyModel, questions: Sequence[QuestionAnswer], images: Tensor) -> Tensor:
    """Loss of a batch, its shorter and its longer dialogues apart, which spares half of the padding."""
    order = sorted(range(len(questions)), key=lambda k: len(questions[k].prompt))
    total = torch.zeros(())
    for part in (order[: len(order) // 2], order[len(order) // 2 :]):
        dialogues = encode(tiny, [questions[k] for k in part])
        total = total + loss(tiny, dialogues, images[part]) * (len(part) / len(order))
    return total


def _ids(tokenizer: object, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]  # type: ignore[operator]
    return ids
