"""The vision encoder runs once for queries that are asked again, and no bit of an answer tells."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack

import numpy as np
import pytest

from model_adapters.inside.intervention import Erase, intervene
from model_adapters.inside.shared_encoding import shared_encoding
from model_adapters.interface import ModelDescription
from tests.model_adapters.inside.test_intervention import architectures, eraser, like_queries, site_of
from tests.model_adapters.tiny.plain import queries


@architectures
@pytest.mark.parametrize("batch_size", [2, 8])
def test_answers_and_features_are_those_of_separate_passes(name, batch_size, tiny_engine):
    engine, asked = tiny_engine(name, batch_size), queries()
    separate = engine.score(asked, observe=True)
    other = engine.score(like_queries())
    with shared_encoding(engine):
        for _ in range(3):  # the second and third are remembered
            again = engine.score(asked, observe=True)
            assert again.scores == separate.scores
            assert all((again.features[key] == array).all() for key, array in separate.features.items())
            assert engine.score(like_queries()).scores == other.scores
    assert engine.score(asked).scores == separate.scores


@architectures
def test_changes_further_on_are_those_of_separate_passes(name, tiny_engine):
    engine, asked = tiny_engine(name), queries()
    changes = [eraser(site_of(engine, key)) for key in ("connector.00.mean", "llm.01.mean", "llm.02.last")]

    def changed(change: Erase) -> object:
        with intervene(engine, change):
            return engine.score(asked).scores

    separate = [changed(change) for change in changes]
    plain = engine.score(asked).scores
    with shared_encoding(engine):
        assert [changed(change) for change in changes] == separate
        assert engine.score(asked).scores == plain
    assert len({*separate, plain}) == 4


@architectures
def test_every_vision_block_runs_once_a_batch(name, tiny_engine):
    engine, asked = tiny_engine(name, 3), queries()
    blocks, runs = engine.anatomy.vision_blocks, Counter[int]()
    inside = [next(block.children()) for block in blocks]  # runs only where the block itself does
    assert engine.sites  # taken before, in a pass of their own
    with ExitStack() as stack:
        for place, part in enumerate(inside):
            count = lambda *_, place=place: runs.update([place])  # noqa: E731
            stack.callback(part.register_forward_hook(count).remove)
        with shared_encoding(engine):
            for _ in range(4):
                engine.score(asked)
        assert runs == dict.fromkeys(range(len(blocks)), 2)  # batches of three and of two queries
        engine.score(asked)
        assert runs == dict.fromkeys(range(len(blocks)), 4)


def test_what_was_there_before_is_there_after(tiny_engine):
    engine, asked = tiny_engine("llava_siglip"), queries()
    prepare, first = engine._prepare, engine.anatomy.vision_blocks[0]
    with shared_encoding(engine), shared_encoding(engine):
        nested = engine.score(asked).scores
    assert "forward" not in vars(first)
    assert engine._prepare == prepare
    with pytest.raises(KeyboardInterrupt), shared_encoding(engine):
        raise KeyboardInterrupt
    assert "forward" not in vars(first)
    assert engine._prepare == prepare
    assert engine.score(asked).scores == nested


def test_another_picture_under_the_same_name_is_encoded_anew(tiny_engine):
    engine = tiny_engine("llava_siglip")
    first, second = (
        query.__class__("same", query.image, query.prompt, query.labels) for query in like_queries()[:2]
    )
    expected = [engine.score([query]).scores[0].raw for query in (first, second)]
    with shared_encoding(engine):
        assert [engine.score([query]).scores[0].raw for query in (first, second)] == expected
    assert not np.allclose(*expected)


def test_an_engine_without_hidden_states_is_left_as_it_is():
    class Closed:
        description = ModelDescription("far/away", None, "0", "Far", 0, "openai", "float32", "cpu")

    closed = Closed()
    with shared_encoding(closed):
        assert vars(closed) == {}
