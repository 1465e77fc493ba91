"""What vLLM answers is what the transformers engine answers, on the tiny models of every architecture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_adapters.catalog.card import GenerationSettings
from model_adapters.engines.paired.parity import measure_parity
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.engines.vllm.engine import VllmEngine
from model_adapters.interface import Engine, EngineParity, Query
from tests.model_adapters.tiny.models import BUILDERS
from tests.model_adapters.tiny.plain import picture, queries
from tests.vllm.load import TOLERANCE, load, load_slow

pytest.importorskip("vllm")

# vLLM has no attention on the CPU that lets an image's tokens see each other, as Gemma 3's do.
CAUSAL_IMAGES = "gemma3"


@dataclass(frozen=True)
class Pair:
    """One tiny model in both engines."""

    name: str
    fast: VllmEngine
    slow: TransformersEngine


@pytest.fixture(scope="module", params=BUILDERS)
def pair(request, vllm_folder) -> Iterator[Pair]:
    torch.set_num_threads(1)
    folder = vllm_folder(request.param)
    fast = load(folder)
    yield Pair(request.param, fast, load_slow(folder))
    fast.close()


@pytest.fixture
def alike(pair, monkeypatch) -> Pair:
    """The pair; where vLLM lets image tokens see backwards only, the other engine's do so here too."""
    if pair.name == CAUSAL_IMAGES:
        prepare = pair.slow._prepare

        def causal(asked: Sequence[Query]) -> Any:
            batch = prepare(asked)
            batch.inputs["token_type_ids"].zero_()  # what tells the model which tokens are an image's
            return batch

        monkeypatch.setattr(pair.slow, "_prepare", causal)
    return pair


def test_it_is_an_engine_that_shows_no_layers(pair):
    assert isinstance(pair.fast, Engine)
    assert pair.fast.sites == ()
    seen = pair.fast.score(queries()[:1], observe=True)
    assert seen.features == {}
    fast, slow = pair.fast.description, pair.slow.description
    for key in ("name", "revision", "architecture", "parameters", "dtype", "device"):
        assert getattr(fast, key) == getattr(slow, key), key
    assert fast.engine == "vllm"
    assert fast.fingerprint["vllm"]


def test_it_reads_the_prompt_that_transformers_reads(pair):
    for query in queries():
        own = pair.slow._prepare([query]).inputs["input_ids"][0].tolist()
        assert list(pair.fast.prompt_tokens(query)) == own, query.id
        assert pair.fast.tokens_of_labels(query) == pair.slow.tokens_of_labels(query)


def test_scores_equal_those_of_transformers(alike):
    asked = queries()
    assert {len(alike.slow.tokens_of_labels(query)[0]) > 1 for query in asked} == {True, False}
    for query, fast, slow in zip(
        asked, alike.fast.score(asked).scores, alike.slow.score(asked).scores, strict=True
    ):
        np.testing.assert_allclose(fast.raw, slow.raw, atol=TOLERANCE, err_msg=query.id)
        np.testing.assert_allclose(fast.normalised, slow.normalised, atol=TOLERANCE, err_msg=query.id)
        assert np.argmax(fast.raw) == np.argmax(slow.raw)


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_text_equals_that_of_transformers(alike, monkeypatch, penalty):
    for engine in (alike.fast, alike.slow):
        settings = GenerationSettings(repetition_penalty=penalty)
        monkeypatch.setattr(engine, "card", engine.card.model_copy(update={"generation": settings}))
    written = alike.fast.generate(queries(), max_new_tokens=12)
    assert written == alike.slow.generate(queries(), max_new_tokens=12)
    assert any(one.text for one in written)


def test_an_end_token_ends_the_text(alike, monkeypatch):
    """The token that the model likes best second is made an end of its turn, in both engines."""
    query = queries()[0]
    first = [alike.slow.generate([query], max_new_tokens=n)[0].text for n in (1, 2)]
    prompt, tokenizer = alike.slow._prepare([query]), alike.slow._processor.tokenizer
    ids = alike.slow._model.generate(**prompt.inputs, max_new_tokens=2, min_new_tokens=2, do_sample=False)
    second = int(ids[0, -1])
    for engine in (alike.fast, alike.slow):
        monkeypatch.setitem(engine.__dict__, "_end_ids", frozenset({second, tokenizer.eos_token_id}))
    written = alike.fast.generate([query], max_new_tokens=12)[0]
    assert written == alike.slow.generate([query], max_new_tokens=12)[0]
    assert written.finished
    assert first[1].startswith(written.text)


def test_a_token_among_too_few_log_probabilities_is_an_error(alike, monkeypatch):
    asked = queries()
    monkeypatch.setattr(alike.fast, "_settings", replace(alike.fast._settings, logprobs=1))
    for scores in alike.fast.score(asked).scores:
        assert scores.raw == scores.normalised == ()
        assert "gave no log-probability for token" in str(scores.error)
    whole = alike.slow._model.config.get_text_config().vocab_size
    monkeypatch.setattr(alike.fast, "_settings", replace(alike.fast._settings, logprobs=whole))
    for fast, slow in zip(alike.fast.score(asked).scores, alike.slow.score(asked).scores, strict=True):
        np.testing.assert_allclose(fast.raw, slow.raw, atol=TOLERANCE)


def test_a_choice_is_a_label(pair):
    asked = queries()
    chosen = pair.fast.choose(asked)
    assert all(one.finished and one.text in query.labels for one, query in zip(chosen, asked, strict=True))
    letters = asked[1]
    if (
        pair.fast._chat.label_prefix(pair.fast.rendered(letters)) == ""
    ):  # a letter is one token, in one way only
        best = int(np.argmax(pair.fast.score([letters]).scores[0].raw))
        assert chosen[1].text == letters.labels[best]


def test_a_refused_picture_fails_alone(pair):
    if not pair.name.startswith("qwen"):
        pytest.skip("this processor takes pictures of every shape")
    asked = list(queries())
    asked.insert(2, Query("thin", picture(1200, 4), "normal or benign?", ("normal", "benign")))
    scores = pair.fast.score(asked).scores
    assert "aspect ratio" in str(scores[2].error)
    assert [one.error is None for one in scores] == [True, True, False, True, True, True]
    alone = pair.fast.score(queries()).scores
    for one, other in zip(alone, [scores[i] for i in (0, 1, 3, 4, 5)], strict=True):
        np.testing.assert_allclose(one.raw, other.raw, atol=TOLERANCE)
    assert "aspect ratio" in str(pair.fast.generate(asked, max_new_tokens=2)[2].error)
    assert "aspect ratio" in str(pair.fast.choose(asked)[2].error)


def test_a_prompt_beyond_the_limit_fails_alone(pair):
    long = replace(queries()[0], prompt="benign " * 1100)
    scores = pair.fast.score([long, queries()[1]]).scores
    assert "refuses" in str(scores[0].error)
    assert scores[1].error is None


def test_parity_is_measured_and_a_model_that_vllm_reads_otherwise_is_told(pair):
    parity = measure_parity(pair.fast, pair.slow, queries())
    _write(pair.name, parity)
    assert (parity.images, parity.detail) == (len(queries()), None)
    assert parity.largest_difference is not None
    if pair.name == CAUSAL_IMAGES:
        assert parity.largest_difference > 0.1
        assert "see those before them alone" in pair.fast.description.remarks[0]
    else:
        assert (parity.top1_agreement, parity.same_text) == (1.0, 1.0)
        assert parity.largest_difference < TOLERANCE
        assert pair.fast.description.remarks == ()


def test_parity_where_both_read_images_alike(alike):
    parity = measure_parity(alike.fast, alike.slow, queries())
    assert (parity.top1_agreement, parity.same_text) == (1.0, 1.0)
    assert parity.largest_difference is not None
    assert parity.largest_difference < TOLERANCE
    if alike.name == CAUSAL_IMAGES:
        _write(f"{alike.name}_causal_images", parity)


def _write(name: str, parity: EngineParity) -> None:
    """Add what was measured to the file that HARNESS_PARITY_OUT names, if it names one."""
    if place := os.environ.get("HARNESS_PARITY_OUT"):
        file = Path(place)
        known = json.loads(file.read_text()) if file.is_file() else {}
        known[name] = {key: value for key, value in asdict(parity).items() if key != "detail"}
        file.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
