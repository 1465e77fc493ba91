"""Find out, when an OpenAI-compatible server is loaded, who it is and what it understands."""

from __future__ import annotations

import re
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from PIL import Image

from model_adapters.engines.openai.client import Client, KeyRefusedError, Kind, RequestFailed, UnusableAnswer
from model_adapters.engines.openai.protocol import (
    Dialect,
    messages,
    picture,
    read_text,
    read_token_ids,
    read_top,
    request,
    token_options,
    turn_options,
)
from model_adapters.interface import ModelError

Value = TypeVar("Value")

GREY = Image.new("RGB", (96, 64), (127, 127, 127))
QUESTION = "What does the picture show?"
_TOPS = (20, 5)  # most servers allow 20, some 5
_TRIES = 3  # of a question to which a server may have no usable answer at all
_SAME = 0.05  # nats by which one log p may differ between two requests, in half precision
_CONTRADICTION = {"add_generation_prompt": True, "continue_final_message": True}


@dataclass(frozen=True)
class Server:
    """A server as it showed itself. `says` is what it reveals of the model's revision."""

    dialect: Dialect
    says: str
    software: str | None
    remarks: tuple[str, ...]


async def meet(client: Client, *, scores: bool) -> Server:
    """Ask a server for its models, then a first question about a grey picture; `scores`: for scores too.

    Raises:
        ModelError: the server is not there, does not know the model, or does not answer.
    """
    settings = client.settings
    listed, remarks = await _models(client)
    own = next((model for model in listed if model.get("id") == settings.endpoint.model), {})
    first = _FirstQuestion(client, listed)
    wanted = [settings.top_logprobs] if settings.top_logprobs is not None else list(_TOPS)
    await first.ask(wanted if scores else [])
    is_vllm = own.get("owned_by") == "vllm"
    software = await _version(client) if is_vllm else None
    dialect = replace(first.dialect, penalty=is_vllm)
    if settings.prompt.answer_prefix or dialect.top_logprobs:
        dialect = replace(dialect, prefill=await _goes_on(client, dialect))
    if is_vllm and dialect.top_logprobs:
        dialect = replace(dialect, tokens=await _tells_tokens(client, dialect))
    says = settings.endpoint.model + (f"@{first.system_fingerprint}" if first.system_fingerprint else "")
    remarks += first.remarks
    return Server(dialect, says, software, tuple(f"{settings.name}: {remark}" for remark in remarks))


async def _models(client: Client) -> tuple[list[dict[str, Any]], list[str]]:
    settings = client.settings
    model = settings.endpoint.model

    def read(content: Any) -> list[dict[str, Any]]:
        data = content.get("data") if isinstance(content, dict) else None
        if not isinstance(data, list):
            raise UnusableAnswer("the list of models has no data")
        return [entry for entry in data if isinstance(entry, dict)]

    try:
        listed = await client.ask("GET", f"{settings.base_url}/models", None, read, attempts=_TRIES)
    except KeyRefusedError:  # keys are often limited to questions; a wrong one shows with the first
        return [], ["the server does not show its models with this key"]
    except RequestFailed as failure:
        if failure.kind == "unreachable":
            raise ModelError(
                f"{settings.name}: no server at {settings.base_url} ({failure}); start it, or correct base_url"
            ) from failure
        if failure.kind in ("missing", "refused"):
            return [], [
                "the server lists no models, so that only its first answer shows that it knows this one"
            ]
        raise ModelError(
            f"{settings.name}: {settings.base_url}/models is of no use: {failure}; is base_url the address up "
            "to and with /v1?"
        ) from failure
    if not any(entry.get("id") == model for entry in listed):
        return listed, [f"the server does not list {model!r} among its models"]
    return listed, []


class _FirstQuestion:
    """Asks about a grey picture, and leaves out one by one what the server says that it does not take."""

    def __init__(self, client: Client, listed: list[dict[str, Any]]) -> None:
        self._client, self._listed = client, listed
        self.dialect = Dialect()
        self.remarks: list[str] = []
        self.system_fingerprint: str | None = None

    async def ask(self, tops: list[int]) -> None:
        """Ask until the server answers; `tops` are the counts of log-probabilities to try, the best first."""
        wants_scores = bool(tops)
        while True:
            self.dialect = replace(self.dialect, top_logprobs=tops[0] if tops else 0)
            try:
                await self._question(bool(tops))
                break
            except RequestFailed as failure:
                if tops and failure.kind == "unusable":
                    tops = []  # it answers, but not with log-probabilities
                    continue
                if failure.kind == "refused" and self._leaves_out(str(failure), tops):
                    continue
                raise self._error(failure) from failure
        if wants_scores and not self.dialect.top_logprobs:
            self.remarks.append(
                "the server gives no log-probabilities, so that there are no label scores; "
                "headline: generated on the card judges by its text"
            )

    def _leaves_out(self, said: str, tops: list[int]) -> bool:
        """Change the dialect by what a refusal names; False where it names nothing that can be left out."""
        dialect = self.dialect
        if "max_tokens" in said and dialect.limit == "max_tokens":
            self.dialect = replace(dialect, limit="max_completion_tokens")
        elif (
            re.search("log_?prob", said, re.IGNORECASE)
            and tops
            and self._client.settings.top_logprobs is None
        ):
            del tops[0]
        elif re.search(r"\bseed\b", said) and dialect.seed:
            self.dialect = replace(dialect, seed=False)
        elif "temperature" in said and dialect.temperature:
            self.dialect = replace(dialect, temperature=False)
            self.remarks.append("the server does not take temperature 0: its answers may differ between runs")
        else:
            return False
        return True

    async def _question(self, scores: bool) -> None:
        settings, dialect = self._client.settings, self.dialect
        options = {"logprobs": True, "top_logprobs": dialect.top_logprobs} if scores else {}
        turns = messages(settings.prompt, QUESTION, picture(GREY))
        body = request(settings.endpoint.model, dialect, turns, max_tokens=1, **options)

        def read(content: Any) -> None:
            if scores:
                read_top(content)
            else:
                read_text(content)
            said = content.get("system_fingerprint")
            self.system_fingerprint = settings.clean(said) if isinstance(said, str) and said else None

        url = f"{settings.base_url}/chat/completions"
        await self._client.ask("POST", url, body, read, attempts=_TRIES if scores else None)

    def _error(self, failure: RequestFailed) -> ModelError:
        settings = self._client.settings
        ids = [str(entry.get("id")) for entry in self._listed]
        if ids and settings.endpoint.model not in ids:
            known = settings.clean(", ".join(ids[:5]))
            return ModelError(
                f"{settings.name}: {settings.base_url} does not know the model {settings.endpoint.model!r} "
                f"({failure}); it has {known}; choose with --model-args model="
            )
        return ModelError(
            f"{settings.name}: {settings.base_url} does not answer a question about a grey picture: {failure}"
        )


async def _version(client: Client) -> str:
    def read(content: Any) -> str:
        version = content.get("version") if isinstance(content, dict) else None
        if not isinstance(version, str):
            raise UnusableAnswer("no version")
        return f"vllm {version}"

    return (
        await _found_out(client, client.ask("GET", f"{client.settings.root}/version", None, read)) or "vllm"
    )


async def _found_out(
    client: Client,
    question: Coroutine[Any, Any, Value],
    *,
    failing: tuple[Kind, ...] = ("failed", "unreachable"),
) -> Value | None:
    """Return an answer, None where the server has none; that it could not answer now proves nothing.

    Raises:
        ModelError: the server did not answer, in one of the ways `failing`.
    """
    try:
        return await question
    except RequestFailed as failure:
        if failure.kind in failing:
            raise ModelError(
                f"{client.settings.name}: {client.settings.base_url} stopped answering: {failure}"
            ) from failure
        return None


async def _goes_on(client: Client, dialect: Dialect) -> bool:
    """Tell whether the server goes on with a begun answer.

    One that knows the two switches of a turn refuses to have both on; one that ignores them answers.
    """
    settings = client.settings
    if settings.prefill is not None:
        return settings.prefill
    turns = messages(settings.prompt, QUESTION, picture(GREY), "The")
    url = f"{settings.base_url}/chat/completions"

    async def answers(switches: dict[str, bool]) -> bool:
        body = request(settings.endpoint.model, dialect, turns, max_tokens=1, **switches)
        # Some servers break on a last turn of the assistant's, and answer 500 to nothing else.
        question = client.ask("POST", url, body, lambda _: True, attempts=_TRIES)
        return await _found_out(client, question, failing=("unreachable",)) is True

    return not await answers(_CONTRADICTION) and await answers(turn_options("The"))


async def _tells_tokens(client: Client, dialect: Dialect) -> bool:
    """Tell whether the server tokenises, tells the log p of any token, and lets one be forced.

    Forcing must not change what it tells: with vLLM's `--logprobs-mode processed_logprobs` it would.
    """
    settings = client.settings
    tokens = await _found_out(client, tokenise(client, messages(settings.prompt, "A B", None)))
    if settings.root is None or tokens is None or len(set(tokens)) < 2:
        return False
    pair = sorted(set(tokens))[-2:]
    turns, url = messages(settings.prompt, QUESTION, picture(GREY)), f"{settings.base_url}/chat/completions"

    async def log_p(position: int, **options: Any) -> dict[int, float] | None:
        body = request(
            settings.endpoint.model, dialect, turns, max_tokens=position + 1, **token_options(pair), **options
        )
        question = client.ask(
            "POST", url, body, lambda content: read_token_ids(content, pair, position), attempts=_TRIES
        )
        return await _found_out(client, question)

    free, forced = await log_p(0), await log_p(0, allowed_token_ids=pair[:1])
    further = await log_p(1, allowed_token_ids=pair[:1], ignore_eos=True)
    if free is None or forced is None or further is None:
        return False
    return all(abs(forced[token] - free[token]) < _SAME for token in pair)


async def tokenise(
    client: Client, turns: list[dict[str, Any]], *, attempts: int | None = None, **options: Any
) -> tuple[int, ...]:
    """Return the tokens of a chat as the server makes them, up to where the answer begins.

    Raises:
        RequestFailed: the server does not tell.
    """

    def read(content: Any) -> tuple[int, ...]:
        tokens = content.get("tokens") if isinstance(content, dict) else None
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise UnusableAnswer("the server's tokens are malformed")
        return tuple(tokens)

    settings = client.settings
    if settings.root is None:
        raise RequestFailed("the server's address has no /v1", "missing")
    body = {"model": settings.endpoint.model, "messages": turns, **options}
    return await client.ask("POST", f"{settings.root}/tokenize", body, read, attempts=attempts)
