"""The OpenAI-compatible engine over a real `vllm serve` gives what transformers computes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
import torch

from model_adapters.catalog.card import ModelCard, PromptSettings
from model_adapters.catalog.registry import load_engine
from model_adapters.engines.openai.client import Client, server_settings
from model_adapters.engines.openai.engine import OpenAIEngine
from model_adapters.engines.openai.protocol import detect_server
from model_adapters.interface import Query
from tests.model_adapters.tiny.plain import PlainModel, picture, plain_model

pytest.importorskip("vllm")

PROMPT = "What does the ultrasound image show? Answer with one word: normal, benign or malignant."
# Sides that need no resizing, which vLLM's processor and the one without torchvision do unlike.
SIDES = ((32, 32), (24, 32), (16, 40), (40, 24))


def queries(*labels: str) -> list[Query]:
    return [Query(f"{i}", picture(*sides, seed=i), PROMPT, labels) for i, sides in enumerate(SIDES)]


@pytest.fixture(scope="module")
def engine(vllm_server) -> Iterator[OpenAIEngine]:
    found = load_engine(card(vllm_server), engine="openai", model_args=arguments(vllm_server))
    assert isinstance(found, OpenAIEngine)
    yield found
    found.close()


def card(server, **settings) -> ModelCard:
    return ModelCard(name="served", path=str(server.folder), **settings)


def arguments(server) -> dict[str, str]:
    return {"base_url": server.base_url, "model": server.model}


def plain_scores(plain: PlainModel, query: Query) -> list[float]:
    """Log p of each label's tokens up to the first that no other label has, each label in a pass of its own."""
    tokenizer = plain.processor.tokenizer
    texts = list(query.labels)
    if any(a != b and b.startswith(a) for a in texts for b in texts):
        texts = [text + "<|im_end|>" for text in texts]
    tokens = [tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    scores = []
    for text, own in zip(texts, tokens, strict=True):
        count = next(n for n in range(1, 99) if sum(other[:n] == own[:n] for other in tokens) == 1)
        start = plain.inputs(query)["input_ids"].shape[1]
        inputs = plain.inputs(query, text)
        assert tuple(inputs["input_ids"][0, start:].tolist()) == own
        with torch.no_grad():
            logits = plain.model(**inputs, use_cache=False).logits[0].float()
        steps = torch.log_softmax(logits, -1)[start - 1 : start - 1 + count]
        scores.append(float(steps[torch.arange(count), torch.tensor(own[:count])].sum()))
    return scores


def test_the_server_is_known_for_what_it_is(engine, vllm_server):
    described = engine.description
    assert described.fingerprint["label_scores"] == "tokens"
    assert described.fingerprint["prefill"] is True
    assert str(described.fingerprint["software"]).startswith("vllm ")
    assert described.revision.startswith(f"server:{vllm_server.model}")
    assert described.remarks == ()


@pytest.mark.parametrize(
    "labels",
    [
        ("normal", "benign", "malignant"),
        ("A", "B", "C", "D", "E"),
        ("benign cyst", "benign calcified", "benign", "normal"),  # shared beginnings; one begins others
        ("cyst", "cystcyst", "calcified", "pneumonia"),
        ("malignant A", "malignant B", "malignant malignant C", "malignant malignant D"),
    ],
)
def test_scores_are_those_of_transformers(engine, vllm_server, labels):
    plain = plain_model(vllm_server.folder, vllm_server.model)
    asked = queries(*labels)
    for query, scores in zip(asked, engine.score(asked).scores, strict=True):
        assert scores.error is None
        assert scores.raw == pytest.approx(plain_scores(plain, query), abs=1e-3)
        assert scores.normalised == scores.raw


def test_scores_after_a_begun_answer_are_those_of_transformers(vllm_server):
    prompt = PromptSettings(answer_prefix="<answer>")
    served = load_engine(card(vllm_server, prompt=prompt), engine="openai", model_args=arguments(vllm_server))
    asked = queries("A", "B", "C")  # labels of one token: the whole label tells them apart
    reference = load_engine(card(vllm_server, prompt=prompt), device="cpu", dtype="float32")
    expected = reference.score(asked).scores
    for scores, other in zip(served.score(asked).scores, expected, strict=True):
        assert scores.raw == pytest.approx(other.raw, abs=1e-3)
    written = [one.text.rstrip("\ufffd") for one in served.generate(asked, max_new_tokens=8)]
    assert written == [one.text.rstrip("\ufffd") for one in reference.generate(asked, max_new_tokens=8)]
    served.close()


def test_greedy_texts_are_those_of_transformers(engine, vllm_server):
    reference = load_engine(card(vllm_server), device="cpu", dtype="float32")
    asked = queries("A", "B")
    written = engine.generate(asked, max_new_tokens=12)
    expected = reference.generate(asked, max_new_tokens=12)
    # Bytes of an unfinished character at the end are left out by vLLM, and shown as one sign by transformers.
    assert [one.text.rstrip("\ufffd") for one in written] == [one.text.rstrip("\ufffd") for one in expected]
    assert [one.finished for one in written] == [one.finished for one in expected]
    assert all(one.error is None for one in written)


def test_the_most_likely_tokens_alone_give_the_same_probabilities(vllm_server):
    """As a server without vLLM's own requests would be read: by strings, from the tokens that it names."""
    client = Client(server_settings(card(vllm_server), arguments(vllm_server)))
    server = client.run(partial(detect_server, client, scores=True))
    engine = OpenAIEngine(
        card(vllm_server), client, replace(server, capabilities=replace(server.capabilities, tokens=False))
    )
    plain = plain_model(vllm_server.folder, vllm_server.model)
    query = queries("A", "B")[0]
    with torch.no_grad():
        logits = plain.model(**plain.inputs(query), use_cache=False).logits[0, -1].float()
    top = torch.softmax(logits, -1).topk(20)
    strings = [plain.processor.tokenizer.decode([token]) for token in top.indices.tolist()]
    labels = [text for text in strings if text.isascii() and text.isalnum()][:2]
    expected = [
        math.log(
            sum(
                p
                for p, text in zip(top.values.tolist(), strings, strict=True)
                if text.strip() and label.startswith(text.lstrip())
            )
        )
        for label in labels
    ]
    scores = engine.score([replace(query, labels=tuple(labels))]).scores[0]
    assert scores.error is None
    assert scores.raw == pytest.approx(expected, abs=1e-3)
    missing = engine.score([replace(query, labels=(*labels, "pneumonia"))]).scores[0]
    assert missing.raw == ()
    assert "'pneumonia' is not among the 20 most likely tokens" in (missing.error or "")
    engine.close()
