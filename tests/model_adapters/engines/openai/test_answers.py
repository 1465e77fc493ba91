"""The OpenAI-compatible engine over a real HTTP server whose model sees colours."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_adapters.catalog.card import GenerationSettings, ModelCard, PromptSettings
from model_adapters.catalog.registry import load_engine
from model_adapters.engines.openai.engine import OpenAIEngine
from model_adapters.interface import ModelError, Query
from tests.model_adapters.engines.openai.asking import (
    CARD,
    COLOURS,
    Connect,
    Start,
    expected,
    pictures,
    queries_of,
)
from tests.model_adapters.tiny.openai_server import mean_colour, probabilities


def test_scores_and_texts_are_those_of_the_model_for_the_very_pixels(start: Start, connect: Connect) -> None:
    server = start()
    engine = connect(server)
    images = pictures(12)
    seen = engine.score(queries_of(images), observe=True)
    written = engine.generate(queries_of(images), max_new_tokens=5)
    assert seen.features == {}
    assert engine.sites == ()
    for image, scores, text in zip(images, seen.scores, written, strict=True):
        assert scores.error is None
        assert scores.raw == pytest.approx(expected(image))
        assert scores.normalised == scores.raw
        nearest = min(COLOURS, key=lambda word: float(np.linalg.norm(mean_colour(image) - COLOURS[word])))
        assert (text.text.strip(), text.finished, text.error) == (nearest, True, None)
    described = engine.description
    assert (described.revision, described.engine, described.parameters) == ("server:tiny@fp_1", "openai", 0)
    assert described.abilities.label_scores
    assert described.remarks == ()


def test_the_same_queries_make_the_same_requests(start: Start, connect: Connect) -> None:
    server = start()
    engine = connect(server)
    bodies = []
    for _ in range(2):
        before = len(server.asked)
        engine.score(queries_of(pictures(6)))
        engine.generate(queries_of(pictures(6)), max_new_tokens=3)
        bodies.append(sorted(repr(asked.body) for asked in server.asked[before:]))
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) == 12
    body = server.asked[-1].body
    assert (body["temperature"], body["seed"], body["max_tokens"]) == (0, 0, 3)


def test_letters_are_answered_in_the_order_of_the_options(start: Start, connect: Connect) -> None:
    engine = connect(start())
    image = pictures(1)[0]
    query = Query("letters", image, "Which?\nA) benign\nB) normal\nC) cyst\nOne letter.", ("A", "B", "C"))
    found = probabilities(image, COLOURS)
    scores = engine.score([query]).scores[0]
    assert scores.raw == pytest.approx([math.log(found[word]) for word in ("benign", "normal", "cyst")])


def test_labels_that_share_their_beginning_are_told_apart_by_a_server_that_goes_on(
    start: Start, connect: Connect
) -> None:
    colours = {"benign cyst": (200, 60, 60), "benign mass": (60, 200, 60), "normal": (60, 60, 200)}
    prompt = "benign cyst, benign mass or normal?"
    images = pictures(4)
    goes_on = connect(start(answers=colours, token_length=4, goes_on=True))
    for image, scores in zip(
        images, goes_on.score(queries_of(images, tuple(colours), prompt)).scores, strict=True
    ):
        assert scores.raw == pytest.approx([math.log(p) for p in probabilities(image, colours).values()])
    cannot = connect(start(answers=colours, token_length=4))
    scores = cannot.score(queries_of(images[:1], tuple(colours), prompt)).scores[0]
    assert scores.raw == ()
    assert scores.error is not None
    assert "labels share their beginning: 'beni' begins 'benign cyst' and 'benign mass'" in scores.error
    # A server that is known to go on, though it does not say so, is taken at the user's word.
    assert connect(start(), prefill="yes").description.fingerprint["prefill"] is True


def test_a_label_that_begins_another_is_refused_with_a_way_out(start: Start, connect: Connect) -> None:
    engine = connect(start())
    with pytest.raises(ModelError, match=r"'normal' begins label 'normal variant'.*headline: generated"):
        engine.score(queries_of(pictures(1), ("normal", "normal variant")))


def test_a_begun_answer_is_gone_on_with_or_refused(start: Start, connect: Connect) -> None:
    card = ModelCard(
        name="remote", hub_id="a/b", prompt=PromptSettings(system="Be brief.", answer_prefix="cy")
    )
    server = start(goes_on=True, token_length=3)
    engine = connect(server, card)
    assert engine.generate(queries_of(pictures(2)), max_new_tokens=5)[0].text == "st"
    turns = server.asked[-1].body["messages"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant"]
    assert (turns[0]["content"], turns[2]["content"]) == ("Be brief.", "cy")
    with pytest.raises(ModelError, match=r"does not go on with a begun answer.*answer_prefix 'cy'"):
        connect(start(), card)


def test_text_that_the_limit_cuts_is_not_finished(start: Start, connect: Connect) -> None:
    engine = connect(start(token_length=2))
    written = engine.generate(queries_of(pictures(1)), max_new_tokens=2)[0]
    assert (written.text, written.finished) == (" norm", False)


@pytest.mark.parametrize(
    ("behaviour", "missing", "remark"),
    [
        ({"refused": ("max_tokens",)}, "max_tokens", None),
        ({"refused": ("seed",)}, "seed", None),
        ({"refused": ("temperature",)}, "temperature", "does not take temperature 0"),
        ({"refused": ("max_tokens", "seed", "temperature")}, "seed", "does not take temperature 0"),
    ],
)
def test_what_a_server_does_not_take_is_left_out(
    start: Start, connect: Connect, behaviour: dict[str, Any], missing: str, remark: str | None
) -> None:
    server = start(**behaviour)
    engine = connect(server)
    assert engine.score(queries_of(pictures(1))).scores[0].error is None
    assert missing not in server.asked[-1].body
    assert ("max_completion_tokens" in server.asked[-1].body) == ("max_tokens" in behaviour["refused"])
    assert [remark in text for text in engine.description.remarks] == ([True] if remark else [])


def test_fewer_log_probabilities_are_asked_for_where_the_server_gives_fewer(
    start: Start, connect: Connect
) -> None:
    server = start(most_logprobs=5)
    engine = connect(server)
    assert engine.description.fingerprint["top_logprobs"] == 5
    image = pictures(1)[0]
    assert engine.score(queries_of([image])).scores[0].raw == pytest.approx(expected(image))
    with pytest.raises(ModelError, match=r"top_logprobs is at most 5"):
        connect(server, top_logprobs="7")
    # Two tokens hold only two labels: the third is named, not invented.
    scores = connect(server, top_logprobs="2").score(queries_of([image])).scores[0]
    assert scores.raw == ()
    assert scores.error is not None
    assert "is not among the 2 most likely tokens" in scores.error


def test_a_server_without_log_probabilities_is_found_out_at_once(start: Start, connect: Connect) -> None:
    for behaviour in ({"gives_logprobs": False}, {"refused": ("logprobs",)}):
        server = start(**behaviour)
        engine = connect(server)
        assert not engine.description.abilities.label_scores
        assert ["headline: generated" in remark for remark in engine.description.remarks] == [True]
        before = len(server.asked)
        scores = engine.score(queries_of(pictures(3))).scores
        assert all("headline: generated" in (one.error or "") and one.raw == () for one in scores)
        assert len(server.asked) == before
        assert engine.generate(queries_of(pictures(1)), max_new_tokens=3)[0].text == " normal"


def test_a_card_judged_by_text_asks_for_no_log_probabilities(start: Start, connect: Connect) -> None:
    server = start()
    engine = connect(server, ModelCard(name="remote", hub_id="a/b", headline="generated"))
    assert not engine.description.abilities.label_scores
    assert engine.description.remarks == ()
    assert all("logprobs" not in asked.body for asked in server.questions)


def test_a_card_names_its_server_and_its_prices(start: Start, connect: Connect) -> None:
    server = start()
    endpoint = {"base_url": server.base_url, "model": "tiny", "input_price": 2.0, "output_price": 10.0}
    card = ModelCard.model_validate({"name": "served", "engine": "openai", "endpoint": endpoint})
    engine = load_engine(card, model_args={"backoff": "0.01"})
    assert isinstance(engine, OpenAIEngine)
    engine.score(queries_of(pictures(5)))
    usage = engine.usage
    answered = len(server.questions)
    assert (usage.requests, usage.retries, usage.failures) == (len(server.asked), 0, 0)
    assert (usage.input_tokens, usage.output_tokens) == (100 * answered, answered)
    assert usage.cost == pytest.approx((200 * answered + 10 * answered) / 1e6)
    assert usage.currency == "USD"
    assert connect(server).usage.cost is None
    prices = {"input_price": "2", "output_price": "10", "currency": "EUR"}
    assert connect(server, **prices).usage.currency == "EUR"
    assert connect(start(states_usage=False), **prices).usage.cost is None  # not nothing: not known


def test_no_more_questions_are_open_than_allowed(start: Start, connect: Connect) -> None:
    server = start()
    engine = connect(server, concurrency="3")
    open_now, most, lock = 0, 0, threading.Lock()
    answer = server.fault_for

    def counted(image: Image.Image | None) -> str | None:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        time.sleep(0.02)
        with lock:
            open_now -= 1
        return answer(image)

    server.fault_for = counted  # type: ignore[method-assign]
    engine.score(queries_of(pictures(12)))
    assert most == 3


def test_settings_that_a_server_does_not_hear_of_are_said(start: Start, connect: Connect) -> None:
    server = start()
    card = CARD.model_copy(
        update={"generation": GenerationSettings(repetition_penalty=1.2), "processor": {"min_pixels": 4}}
    )
    engine = connect(server, card)
    engine.generate(queries_of(pictures(1)), max_new_tokens=2)
    assert "repetition_penalty" not in server.asked[-1].body
    keys = ("generation.repetition_penalty", "processor")
    assert engine.description.remarks == tuple(
        f"remote: the card's {key} is not sent; the server has its own" for key in keys
    )


def test_the_engine_is_of_no_use_once_closed(start: Start, connect: Connect) -> None:
    engine = connect(start())
    engine.close()
    engine.close()
    with pytest.raises(ModelError, match=r"closed"):
        engine.score(queries_of(pictures(1)))
