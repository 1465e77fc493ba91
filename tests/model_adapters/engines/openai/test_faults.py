"""What a server can do wrong: the picture that meets it has an error, all others their right answers."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from model_adapters.catalog.registry import load_engine
from model_adapters.engines.openai.protocol import image_url
from model_adapters.interface import ModelError
from tests.model_adapters.engines.openai.asking import (
    CARD,
    COLOURS,
    SECRET,
    Connect,
    Start,
    expected,
    pictures,
    queries_of,
)
from tests.model_adapters.tiny.openai_server import ColourServer

AGAIN = ("close", "garbage", "truncated", "no-choices", "empty-choices", "429", "500", "503")
AGAIN_FOR_SCORES = (
    *("no-logprobs", "malformed-logprobs", "nan-logprob", "infinite-logprob", "positive-logprob"),
)
NOT_AGAIN = ("400",)
ATTEMPTS = 3


def requests_about(server: ColourServer, image: object, before: int) -> int:
    return sum(asked.image == image for asked in server.asked[before:])


@pytest.mark.parametrize("fault", [*AGAIN, *AGAIN_FOR_SCORES, *NOT_AGAIN])
def test_one_picture_without_an_answer_has_an_error_and_no_other(
    start: Start, connect: Connect, fault: str
) -> None:
    server = start()
    engine = connect(server, attempts=str(ATTEMPTS))
    images = pictures(6)
    server.misbehave(fault, images[2])
    before = len(server.asked)
    scores = engine.score(queries_of(images)).scores
    for index, (image, one) in enumerate(zip(images, scores, strict=True)):
        if index == 2:
            assert one.raw == ()
            assert one.error
            assert "\n" not in one.error
        else:
            assert one.error is None
            assert one.raw == pytest.approx(expected(image))
    tries = 1 if fault in NOT_AGAIN else ATTEMPTS
    assert requests_about(server, images[2], before) == tries
    assert all(requests_about(server, images[i], before) == 1 for i in (0, 1, 3, 4, 5))
    assert (engine.usage.failures, engine.usage.retries) == (1, tries - 1)


@pytest.mark.parametrize("fault", [*AGAIN, *AGAIN_FOR_SCORES])
def test_a_fault_that_passes_costs_one_more_request_and_no_answer(
    start: Start, connect: Connect, fault: str
) -> None:
    server = start()
    engine = connect(server, attempts=str(ATTEMPTS))
    images = pictures(4)
    server.misbehave(fault, images[1], times=1)
    before = len(server.asked)
    scores = engine.score(queries_of(images)).scores
    for image, one in zip(images, scores, strict=True):
        assert one.raw == pytest.approx(expected(image))
    assert len(server.asked) - before == 5
    assert (engine.usage.failures, engine.usage.retries) == (0, 1)


@pytest.mark.parametrize("faults", [("garbage", "500"), ("500", "no-logprobs")])
def test_faults_of_several_kinds_share_the_attempts(
    start: Start, connect: Connect, faults: tuple[str, str]
) -> None:
    server = start()
    engine = connect(server, attempts=str(ATTEMPTS))
    image = pictures(1)[0]
    server.misbehave(faults[0], image, times=1)
    server.misbehave(faults[1], image)
    before = len(server.asked)
    assert engine.score(queries_of([image, *pictures(3)[1:]])).scores[0].error
    assert requests_about(server, image, before) == ATTEMPTS


@pytest.mark.parametrize("fault", [*AGAIN, "null-content", "400"])
def test_a_text_that_does_not_come_is_an_error_of_that_picture(
    start: Start, connect: Connect, fault: str
) -> None:
    server = start()
    engine = connect(server, attempts="2")
    images = pictures(3)
    server.misbehave(fault, images[0])
    written = engine.generate(queries_of(images), max_new_tokens=4)
    assert (written[0].text, written[0].finished) == ("", False)
    assert written[0].error
    assert [one.text for one in written[1:]] == [" cyst", " benign"]
    assert [one.error for one in written[1:]] == [None, None]


@pytest.mark.parametrize("fault", ["timeout", "trickle"])
def test_a_server_that_is_silent_about_one_picture_is_not_waited_for_long(
    start: Start, connect: Connect, fault: str
) -> None:
    server = start()
    engine = connect(server, attempts="2", timeout="1")
    images = pictures(4)
    server.misbehave(fault, images[3])
    begun = time.monotonic()
    scores = engine.score(queries_of(images)).scores
    assert time.monotonic() - begun < 8
    assert [one.error is None for one in scores] == [True, True, True, False]
    assert scores[3].error is not None
    assert "no answer within 1 s" in scores[3].error


def test_a_server_that_asks_for_a_wait_is_given_it(start: Start, connect: Connect) -> None:
    server = start(retry_after="1")
    engine = connect(server)
    image = pictures(1)[0]
    server.misbehave("429-retry-after", image, times=1)
    before = len(server.asked)
    assert engine.score(queries_of([image])).scores[0].raw == pytest.approx(expected(image))
    first, second = server.asked[before:]
    assert 1.0 <= second.at - first.at < 2.0


def test_a_refused_key_ends_the_run_at_once_and_is_named_by_its_variable(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    server = start()
    engine = connect(server, api_key_env="SOME_KEY", concurrency="1")
    server.misbehave("401")
    before = len(server.asked)
    with pytest.raises(ModelError, match=r"environment variable SOME_KEY.*401") as caught:
        engine.score(queries_of(pictures(20)))
    assert len(server.asked) - before < 5
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("fault", ["500", "garbage", "404", "no-logprobs"])
def test_a_server_that_answers_nothing_any_more_ends_the_run(
    start: Start, connect: Connect, fault: str
) -> None:
    server = start()
    engine = connect(server, attempts="2")
    server.misbehave(fault)
    with pytest.raises(ModelError, match=r"does not answer any more .*run the same command again"):
        engine.score(queries_of(pictures(3)))
    server.behave()
    assert all(one.error is None for one in engine.score(queries_of(pictures(3))).scores)


def test_a_server_that_is_gone_ends_the_run_though_it_answered_a_part(start: Start, connect: Connect) -> None:
    server = start()
    engine = connect(server, attempts="2", concurrency="1")
    images = pictures(8)
    answer = server.fault_for
    asked = 0

    def dies(image: object) -> str | None:
        nonlocal asked
        asked += 1
        if asked == 4:
            threading.Thread(target=server.stop).start()
            time.sleep(0.1)
            return "close"
        return answer(None)

    server.fault_for = dies  # type: ignore[method-assign, assignment]
    with pytest.raises(ModelError, match=r"does not answer any more"):
        engine.score(queries_of(images))


def test_an_interrupt_ends_at_once(start: Start, connect: Connect) -> None:
    server = start()
    engine = connect(server, timeout="20")
    server.misbehave("timeout")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run unattended
    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            engine.score(queries_of(pictures(4)))
    finally:
        signal.signal(signal.SIGINT, before)
    engine.close()
    assert time.monotonic() - begun < 2


def test_no_server_is_said_in_one_line(start: Start, connect: Connect) -> None:
    server = start()
    address = server.base_url
    server.stop()
    with pytest.raises(
        ModelError, match=r"no server at http://127.0.0.1.*start it, or correct base_url"
    ) as caught:
        connect(server)
    assert address in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_model_or_address_is_said_with_the_models_that_are_there(
    start: Start, connect: Connect
) -> None:
    server = start(models=("tiny", "other"))
    with pytest.raises(ModelError, match=r"does not know the model 'unknown'.*it has tiny, other"):
        connect(server, model="unknown")
    with pytest.raises(ModelError, match=r"remote: http.*wrong"):
        connect(server, base_url=server.base_url + "/wrong")
    unlisted = connect(start(lists_models=False))
    assert ["lists no models" in remark for remark in unlisted.description.remarks] == [True]


@pytest.mark.parametrize("fault", ["400", "401", "403", "404", "429", "500", "garbage"])
def test_the_key_and_the_picture_are_in_no_message_and_no_description(
    start: Start,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    server = start(key=SECRET)
    engine = connect(server, api_key_env="SOME_KEY", attempts="1")
    assert all(asked.key == SECRET for asked in server.asked)
    image = pictures(1)[0]
    server.misbehave(fault, image)
    try:
        said = str(engine.score(queries_of([image])).scores[0].error)
    except ModelError as error:
        said = repr(error) + repr(error.__cause__)
    assert fault in said or fault == "garbage"
    everything = said + repr(engine.description) + str(engine.description.fingerprint) + caplog.text
    everything += repr(engine._client.settings)
    assert SECRET not in everything
    pixels = image_url(image).partition("base64,")[2]
    assert not any(pixels[i : i + 12] in everything for i in range(len(pixels) - 11))
    assert "127.0.0.1" not in str(engine.description.fingerprint)


def test_no_redirect_is_followed_and_so_none_takes_the_key(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    other = start()
    server = start(redirects_to=f"{other.base_url}/chat/completions")
    engine = connect(server, api_key_env="SOME_KEY")
    images = pictures(2)
    server.misbehave("307", images[0])
    scores = engine.score(queries_of(images)).scores
    assert "the server answered 307" in (scores[0].error or "")
    assert scores[1].error is None
    assert other.asked == []


def test_no_proxy_leads_to_this_machine_and_the_environments_to_others(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, server = start(), start()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.base_url.removesuffix("/v1"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert connect(server).score(queries_of(pictures(1))).scores[0].error is None
    assert proxy.asked == []
    with pytest.raises(ModelError):
        connect(server, base_url="http://models.invalid/v1", attempts="1")
    assert proxy.asked[0].path == "http://models.invalid/v1/models"


def test_nothing_but_the_key_is_taken_from_the_environment(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, f"other-{name}")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Clinic: other-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.invalid/v1")
    server = start()
    connect(server, api_key_env="SOME_KEY").score(queries_of(pictures(2)))
    assert server.asked
    for asked in server.asked:
        assert asked.headers["authorization"] == f"Bearer {SECRET}"
        assert not any("other-" in value for value in asked.headers.values())
    monkeypatch.delenv("OPENAI_API_KEY")
    connect(server)
    assert server.asked[-1].key is None


def test_without_the_library_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("model_adapters.engines.openai.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ModelError, match=r"pip install 'mllm-harness\[api\]'"):
        load_engine(CARD, engine="openai", model_args={"base_url": "http://h/v1"})


def test_a_missing_key_is_named_and_the_default_one_stays_where_it_is_safe(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    server = start()
    with pytest.raises(ModelError, match=r"environment variable SOME_KEY holds no key"):
        connect(server, api_key_env="SOME_KEY")
    connect(server)
    assert server.asked[-1].key == SECRET
    from model_adapters.engines.openai.client import server_settings

    card = CARD
    assert server_settings(card, {"base_url": "https://a.example/v1"}).key == SECRET
    assert server_settings(card, {"base_url": "http://a.example/v1"}).key is None
    named = {"base_url": "http://a.example/v1", "api_key_env": "OPENAI_API_KEY"}
    assert server_settings(card, named).key == SECRET


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"no server is named; give the card the key endpoint, or add --model-args base_url="),
        ({"base_url": "http://u:p@h/v1"}, "must not hold a user or password"),
        ({"base_url": "http://h/v1?key=x"}, "no plain address"),
        ({"base_url": "ftp://h/v1"}, "'base_url'"),
        ({"base_url": "http://h:port/v1"}, "no address"),
        ({"base_url": "http://h/v1", "attempts": "0"}, "'attempts'"),
        ({"base_url": "http://h/v1", "timeout": "soon"}, "'timeout'"),
        ({"base_url": "http://h/v1", "backoff": "-1"}, "'backoff'"),
        ({"base_url": "http://h/v1", "prefill": "maybe"}, "'prefill'"),
        ({"base_url": "http://h/v1", "top_logprobs": "nan"}, "'top_logprobs'"),
        (
            {"url": "http://h/v1"},
            "unknown model argument 'url'; the openai engine has base_url, model",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load_engine(CARD, engine="openai", model_args=arguments)
    assert "u:p" not in str(caught.value)


def test_offline_allows_only_this_machine(start: Start) -> None:
    card = CARD
    with pytest.raises(ModelError, match=r"--offline"):
        load_engine(card, engine="openai", offline=True, model_args={"base_url": "https://a.example/v1"})
    server = start(answers=COLOURS)
    arguments = {"base_url": server.base_url, "model": "tiny"}
    load_engine(card, engine="openai", offline=True, model_args=arguments).close()
