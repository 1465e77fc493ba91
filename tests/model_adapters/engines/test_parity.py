"""Parity of two engines equals what a plain computation on their answers gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model_adapters.engines.paired.parity import measure_parity, recorded_answers
from model_adapters.interface import Abilities, Engine, ModelError, Query
from tests.model_adapters.tiny.plain import picture, queries

ASKED = (*queries(), *(replace(query, id=f"{query.id}2", prompt="Which one?") for query in queries()))


def test_it_equals_a_plain_computation(tiny_engine):
    fast, slow = tiny_engine("llava_siglip"), tiny_engine("qwen2_vl")
    measured = measure_parity(fast, slow, ASKED, max_new_tokens=3)
    agree, same, largest = 0, 0, 0.0
    for query in ASKED:
        one, other = (np.array(engine.score([query]).scores[0].raw) for engine in (fast, slow))
        agree += int(one.argmax() == other.argmax())
        largest = max(largest, float(np.abs(one - other).max()))
        texts = [engine.generate([query], max_new_tokens=3)[0].text for engine in (fast, slow)]
        same += int(texts[0] == texts[1])
    assert 0 < agree < len(ASKED)
    assert measured.images == len(ASKED)
    assert measured.top1_agreement == agree / len(ASKED)
    assert measured.same_text == same / len(ASKED)
    assert measured.largest_difference == pytest.approx(largest, abs=1e-4)
    assert measured.detail is None
    swapped = measure_parity(slow, fast, ASKED, max_new_tokens=3)
    assert swapped.largest_difference == pytest.approx(largest, abs=1e-4)


def test_an_engine_agrees_with_itself(tiny_engine):
    engine = tiny_engine("llava_siglip")
    measured = measure_parity(engine, engine, ASKED, max_new_tokens=3)
    assert (measured.top1_agreement, measured.largest_difference, measured.same_text) == (1.0, 0.0, 1.0)


def test_what_one_engine_refuses_is_counted_out_and_told(tiny_engine):
    taking, refusing = tiny_engine("llava_siglip"), tiny_engine("qwen2_vl")
    thin = Query("thin", picture(1200, 4), "normal or benign?", ("normal", "benign"))
    whole = measure_parity(taking, refusing, ASKED, max_new_tokens=3)
    measured = measure_parity(taking, refusing, (ASKED[0], thin, *ASKED[1:]), max_new_tokens=3)
    assert replace(measured, detail=None, largest_difference=0) == replace(whole, largest_difference=0)
    assert measured.largest_difference == pytest.approx(whole.largest_difference, abs=1e-4)
    assert "scores of 1 of 11 could not be compared ('thin', transformers:" in str(measured.detail)
    assert "texts of 1 of 11" in str(measured.detail)
    nothing = measure_parity(taking, refusing, [thin])
    assert (nothing.images, nothing.top1_agreement, nothing.largest_difference, nothing.same_text) == (
        0,
        None,
        None,
        None,
    )


def test_an_engine_that_writes_nothing_has_no_texts_to_compare(tiny_engine):
    engine = tiny_engine("llava_siglip")
    silent = recorded_answers(engine, ASKED, max_new_tokens=3)
    silent.description = replace(silent.description, abilities=Abilities(generation=False))
    measured = measure_parity(silent, engine, ASKED)
    assert (measured.top1_agreement, measured.same_text, measured.detail) == (1.0, None, None)


def test_recorded_answers_stand_for_the_engine(tiny_engine):
    fast, slow = tiny_engine("llava_siglip"), tiny_engine("qwen2_vl")
    recorded = recorded_answers(slow, ASKED, max_new_tokens=3)
    assert isinstance(recorded, Engine)
    assert measure_parity(fast, recorded, ASKED, max_new_tokens=3) == measure_parity(
        fast, slow, ASKED, max_new_tokens=3
    )
    with pytest.raises(ModelError, match="no answer to query 'a' was recorded"):
        recorded.score([replace(ASKED[0], prompt="another")])
