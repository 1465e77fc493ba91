"""What is learned from: the right tokens at the right places, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model_adapters.finetune.examples import IGNORED, Example, ExamplePreparer, answer_loss
from tests.model_adapters.finetune.small import FAMILIES, load, queries
from tests.model_adapters.tiny.plain import TURN_ENDS, PlainModel


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_is_that_of_the_written_answers_read_one_by_one(
    family: str, tiny_folder: Callable[[str], Path]
) -> None:
    """Without padding, from text to loss: a prompt, the answer and the end of the turn, tokenised together."""
    engine, plain = load(tiny_folder(family)), PlainModel(tiny_folder(family), family)
    examples = [Example(queries()[0], 2), Example(queries()[1], 0), Example(queries()[2], 1)]
    wanted = [plain.label_score(e.query, e.query.labels[e.label], ended=True) for e in examples]
    batch = ExamplePreparer(engine)(examples)
    loss = answer_loss(engine._model, batch, logits_to_keep=engine._keeps_last)
    assert int((batch.targets != IGNORED).sum()) == sum(tokens for _, tokens in wanted)
    assert float(loss.detach()) == pytest.approx(-sum(score for score, _ in wanted), rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_answer_ends_with_the_end_of_the_turn_exactly_once(
    family: str, tiny_folder: Callable[[str], Path]
) -> None:
    engine = load(tiny_folder(family))
    tokenizer = engine._processor.tokenizer
    end = tokenizer.convert_tokens_to_ids(TURN_ENDS.get(family, "<|im_end|>"))
    prepare = ExamplePreparer(engine)
    for query in queries():
        for place, label in enumerate(query.labels):
            tokens = prepare.answer(query, place)
            assert tokens[-1] == end
            assert end not in tokens[:-1]
            assert tokenizer.decode(tokens[:-1]).strip() == label


def test_loss_does_not_depend_on_the_neighbours_in_a_batch(tiny_folder: Callable[[str], Path]) -> None:
    engine = load(tiny_folder("qwen2_5_vl"))
    prepare = ExamplePreparer(engine)
    examples = [Example(query, 1) for query in queries()]
    with torch.no_grad():
        together = answer_loss(engine._model, prepare(examples), logits_to_keep=engine._keeps_last)
        apart = sum(
            answer_loss(engine._model, prepare([one]), logits_to_keep=engine._keeps_last) for one in examples
        )
    assert float(together) == pytest.approx(float(apart), rel=1e-5)
