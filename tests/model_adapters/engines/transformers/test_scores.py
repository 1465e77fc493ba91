"""Label scores are the sums of log p that one plain forward pass a label gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model_adapters.catalog.card import GenerationSettings
from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.engines.transformers import label_scoring
from model_adapters.interface import ModelError, Query
from tests.model_adapters.tiny.models import BUILDERS, WITH_OWN_CODE
from tests.model_adapters.tiny.plain import picture, plain_model, queries

architectures = pytest.mark.parametrize("name", [*BUILDERS, *WITH_OWN_CODE])


@architectures
def test_scores_equal_one_full_forward_per_label(name, tiny_engine, tiny_folder):
    plain, asked = plain_model(tiny_folder(name), name), queries()
    for query, scores in zip(asked, tiny_engine(name).score(asked).scores, strict=True):
        ended = query.id == "c"  # "benign" begins "benign cyst"
        truth = [plain.label_score(query, label, ended=ended) for label in query.labels]
        np.testing.assert_allclose(scores.raw, [total for total, _ in truth], atol=1e-4, err_msg=query.id)
        np.testing.assert_allclose(scores.normalised, [t / n for t, n in truth], atol=1e-4)


@architectures
def test_answers_do_not_depend_on_the_batch(name, tiny_engine):
    asked = queries()
    whole = tiny_engine(name, 8).score(asked, observe=True)
    for size in (1, 3):
        other = tiny_engine(name, size).score(asked, observe=True)
        for one, two in zip(whole.scores, other.scores, strict=True):
            np.testing.assert_allclose(one.raw, two.raw, atol=1e-4)
        for key, array in whole.features.items():
            np.testing.assert_allclose(array, other.features[key], atol=1e-4, err_msg=key)
    backwards = tiny_engine(name, 3).score(asked[::-1]).scores[::-1]
    for one, two in zip(whole.scores, backwards, strict=True):
        np.testing.assert_allclose(one.raw, two.raw, atol=1e-4)


@architectures
def test_greedy_generation_begins_with_the_best_token(name, tiny_engine):
    """Every one-byte label is one token here: the best of them is what a model restricted to them writes."""
    engine = tiny_engine(name)
    tokenizer = engine._processor.tokenizer
    asked = [Query(q.id, q.image, q.prompt, ("A", "B")) for q in queries()]
    written = engine.generate(asked, max_new_tokens=1)
    for query, generation in zip(asked, written, strict=True):
        with torch.inference_mode():
            batch = engine._prepare([query])
            best = int(engine._pass(batch, keep_cache=False, observe=False)[0].next_token[0].argmax())
        ended = best in engine._end_ids
        assert generation.finished == ended
        assert generation.text == ("" if ended else tokenizer.decode([best], skip_special_tokens=True))
    assert engine.generate(asked, max_new_tokens=6) == tuple(
        engine.generate([query], max_new_tokens=6)[0] for query in asked
    )


@pytest.mark.parametrize("name", ["llava_clip", "qwen2_5_vl", "gemma3", "idefics3", "hulu_med"])
def test_reading_the_prompt_again_gives_what_its_cache_gives(name, tiny_engine, monkeypatch):
    asked = queries()
    cached = tiny_engine(name).score(asked).scores
    monkeypatch.setattr(label_scoring, "cache_can_be_copied", lambda model, cache: False)
    for one, two in zip(cached, tiny_engine(name).score(asked).scores, strict=True):
        np.testing.assert_allclose(one.raw, two.raw, atol=1e-4)


def test_one_token_labels_need_one_forward_pass(tiny_engine, monkeypatch):
    engine, passes = tiny_engine("llava_siglip"), []
    forward = engine._model.forward
    monkeypatch.setattr(engine._model, "forward", lambda *a, **k: passes.append(k) or forward(*a, **k))
    engine.score([Query("x", picture(32, 32), "?", ("A", "B", "C", "D"))])
    assert len(passes) == 1
    assert passes[0]["use_cache"] is False
    engine.score([Query("x", picture(32, 32), "?", ("pneumonia", "malignant"))])
    assert len(passes) == 3  # the prompt, and all branches of all labels together


def test_labels_that_cannot_be_told_apart_are_refused(tiny_engine):
    engine = tiny_engine("llava_siglip")
    with pytest.raises(ModelError, match="two or more"):
        engine.score([Query("x", picture(32, 32), "?", ("A",))])
    with pytest.raises(ModelError, match=r"'A' and 'A' have the same tokens"):
        engine.score([Query("x", picture(32, 32), "?", ("A", "A"))])


def test_a_picture_that_the_processor_refuses_fails_alone(tiny_engine):
    engine = tiny_engine("qwen2_vl")
    asked = list(queries())
    asked.insert(2, Query("thin", picture(1200, 4), "normal or benign?", ("normal", "benign")))
    seen = engine.score(asked, observe=True)
    failed = [scores.error for scores in seen.scores]
    assert "refuses" in failed.pop(2)
    assert failed == [None] * 5
    for array in seen.features.values():
        assert np.isnan(array[2]).all()
        assert np.isfinite(np.delete(array, 2, axis=0)).all()
    alone = engine.score(queries()).scores
    for one, two in zip(alone, [s for s in seen.scores if s.error is None], strict=True):
        np.testing.assert_allclose(one.raw, two.raw, atol=1e-4)
    assert engine.generate(asked, max_new_tokens=2)[2].error


def test_a_penalty_on_repetition_does_not_fall_on_the_padding_of_a_batch(tiny_folder):
    """The end of a turn is also the padding of many models: what pads a shorter prompt was never said in it."""
    card = resolve([str(tiny_folder("llava_clip"))])[0].card
    card = card.model_copy(update={"generation": GenerationSettings(repetition_penalty=50.0)})
    together, alone = (load_engine(card, device="cpu", batch_size=size) for size in (8, 1))
    asked = queries()
    said = alone._prepare([asked[0]]).inputs["input_ids"][0]
    first = int(alone._model(**alone._prepare([asked[0]]).inputs).logits[0, -1].argmax())
    assert first not in said
    for engine in (together, alone):
        engine._processor.tokenizer.pad_token_id = first  # so that the penalty on it would be seen at once
    texts = alone.generate(asked, max_new_tokens=4)
    assert together.generate(asked, max_new_tokens=4) == texts


def test_scoring_leaves_no_trace_in_global_state(tiny_engine):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    tiny_engine("llava_clip").score(queries(), observe=True)
    tiny_engine("llava_clip").generate(queries(), max_new_tokens=3)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.is_grad_enabled()
