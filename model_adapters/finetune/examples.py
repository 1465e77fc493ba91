"""From a question and its right answer to what a model learns from: the loss is on the answer's tokens alone.

The prompt is made by the engine itself, image, chat template and left padding included, and the answer follows
it as it does where labels are scored: so tuning and scoring see the same tokens at the same positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.interface import ModelError, Query
from model_adapters.support.batching import UnreadableItemError
from model_adapters.support.label_tokens import Tokens

IGNORED = -100  # a target that nothing is learned from


@dataclass(frozen=True)
class Example:
    """A question with the place of its right label among `query.labels`."""

    query: Query
    label: int


@dataclass(frozen=True)
class TrainingBatch:
    """What a forward pass over prompts with their answers needs.

    `targets` (batch, longest answer) are the answers' tokens, `IGNORED` on the right of a shorter one.
    """

    inputs: dict[str, Any] = field(repr=False)
    targets: Tensor = field(repr=False)


class ExamplePreparer:
    """Turns examples into training inputs with an engine's own processor, template and label tokens."""

    def __init__(self, engine: TransformersEngine) -> None:
        self._engine = engine
        self._end = engine._chat.end_of_turn(engine._end_ids)

    def answer(self, query: Query, label: int) -> Tokens:
        """Return the tokens that the model is to write: those the label is scored by, then the end of its turn."""
        tokens = self._engine.tokens_of_labels(query)[label]
        return tokens if tokens[-1] == self._end else (*tokens, self._end)

    def __call__(self, examples: Sequence[Example]) -> TrainingBatch:
        """Prepare examples for one forward pass.

        Raises:
            ModelError: the model's processor refuses an image.
        """
        queries = [example.query for example in examples]
        try:
            prompts = self._engine._prepare(queries)
        except UnreadableItemError as error:
            raise ModelError(f"{self._engine.card.name}: {error}; leave the image out of the task") from error
        answers = [self.answer(example.query, example.label) for example in examples]
        mask = prompts.attention_mask
        longest = max(map(len, answers))
        rows = [[*answer, *[answer[-1]] * (longest - len(answer))] for answer in answers]
        tokens = torch.tensor(rows, device=mask.device)
        real = torch.arange(longest, device=mask.device) < torch.tensor(
            [[len(answer)] for answer in answers], device=mask.device
        )
        inputs = dict(prompts.inputs)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], tokens], dim=1)
        inputs["attention_mask"] = torch.cat([mask, real.to(mask.dtype)], dim=1)
        for key in ("token_type_ids", "mm_token_type_ids"):
            if key in inputs:
                kinds = inputs[key]
                inputs[key] = torch.cat([kinds, torch.zeros_like(tokens, dtype=kinds.dtype)], dim=1)
        if prompts.positions is not None:
            after = prompts.lengths[:, None] + torch.arange(longest, device=mask.device)[None]
            inputs["position_ids"] = torch.cat([prompts.positions, after], dim=1)
        return TrainingBatch(inputs, torch.where(real, tokens, IGNORED))


def answer_loss(model: Any, batch: TrainingBatch, *, logits_to_keep: bool) -> Tensor:
    """Return the sum of -log p over the answers' tokens, in nats, with its gradient.

    `logits_to_keep`: the model can limit its logits to the last positions.
    """
    count = batch.targets.shape[1]
    options = {"logits_to_keep": count + 1} if logits_to_keep else {}
    logits = model(**batch.inputs, use_cache=False, **options).logits
    predicting = logits[:, -count - 1 : -1].float()
    return functional.cross_entropy(
        predicting.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
