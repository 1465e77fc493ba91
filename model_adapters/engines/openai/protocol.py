"""What is sent to an OpenAI-compatible server, what is read out of its answers, and which parts it understands."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from PIL import Image

from model_adapters.catalog.card import PromptSettings
from model_adapters.engines.openai.client import (
    Client,
    InvalidResponse,
    KeyRefusedError,
    Kind,
    RequestFailed,
    ServerSettings,
)
from model_adapters.interface import Generation, ModelError
from model_adapters.support.label_tokens import Tokens

Value = TypeVar("Value")

GREY = Image.new("RGB", (96, 64), (127, 127, 127))
QUESTION = "What does the picture show?"
SEED = 0
CHAT = "/chat/completions"
_LARGEST = 1e-3  # of a log p: zero, and what rounding adds
_STAND_IN = -9000.0  # vLLM writes -9999 for a probability of zero
_TOPS = (20, 5)  # most servers allow 20, some 5
_TRIES = 3  # of a question to which a server may have no usable answer at all
_SAME = 0.05  # nats by which one log p may differ between two requests, in half precision


@dataclass(frozen=True)
class Capabilities:
    """Which parts of the protocol a server understands.

    `top_logprobs` is how many tokens it tells with their log p, 0 for none. With `prefill` it continues a last
    message of the assistant's. With `tokens` it tells its tokens and the log p of any of them, as vLLM does;
    `penalty` means that it knows vLLM's `repetition_penalty`.
    """

    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    seed: bool = True
    temperature: bool = True
    top_logprobs: int = 0
    prefill: bool = False
    tokens: bool = False
    penalty: bool = False


@dataclass(frozen=True)
class Server:
    """A server as it showed itself. `revision` is what it reveals of the model's."""

    capabilities: Capabilities
    revision: str
    software: str | None
    remarks: tuple[str, ...]


def image_url(image: Image.Image) -> str:
    """Return an image as a data URL of a PNG, which loses nothing."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def messages(
    prompt: PromptSettings, question: str, url: str | None, prefill: str | None = None
) -> list[dict[str, Any]]:
    """Return the messages of a question about an image; `prefill` is what the answer begins with."""
    found: list[dict[str, Any]] = []
    if prompt.system is not None:
        found.append({"role": "system", "content": prompt.system})
    image = [] if url is None else [{"type": "image_url", "image_url": {"url": url}}]
    found.append({"role": "user", "content": [*image, {"type": "text", "text": question}]})
    if prefill:
        found.append({"role": "assistant", "content": prefill})
    return found


def token_options(tokens: Sequence[int]) -> dict[str, Any]:
    """Return what makes a server tell the log p of just these tokens, by their ids."""
    return {"logprobs": True, "logprob_token_ids": list(tokens), "return_tokens_as_token_ids": True}


def chat_request(
    settings: ServerSettings,
    capabilities: Capabilities,
    question: str,
    url: str,
    *,
    max_tokens: int,
    prefill: str = "",
    **options: Any,
) -> dict[str, Any]:
    """Return the body of a greedy request about an image; the same question always has the same one."""
    asked = messages(settings.prompt, question, url, prefill)
    body: dict[str, Any] = {"model": settings.model, "messages": asked, capabilities.limit: max_tokens}
    if capabilities.temperature:
        body["temperature"] = 0
    if capabilities.seed:
        body["seed"] = SEED
    return {**body, **continuing(prefill), **options}


def continuing(prefill: str) -> dict[str, bool]:
    """Return what makes a server continue a prefilled answer instead of a new one."""
    return {"add_generation_prompt": False, "continue_final_message": True} if prefill else {}


def read_text(content: Any) -> Generation:
    """Return the text that was written; `finished` is False where the token limit cut it off.

    Raises:
        InvalidResponse: there is no choice, or no text and nothing that tells why.
    """
    choice = _choice(content)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise InvalidResponse("the answer has no message")
    finished = choice.get("finish_reason") != "length"
    text = message.get("content")
    if text is None and isinstance(message.get("refusal"), str):
        text = message["refusal"]
    if text is None and not finished:
        text = ""  # all its tokens went into thoughts, which the server keeps apart
    if not isinstance(text, str):
        raise InvalidResponse("the answer has no text")
    return Generation(text, finished=finished)


def read_top(content: Any, position: int = 0) -> list[tuple[str, float]]:
    """Return the most likely tokens at a position of an answer, as strings with their log p.

    Raises:
        InvalidResponse: there are none, or a log p is no number that one can be.
    """
    logprobs = _choice(content).get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(entries, list) or len(entries) <= position or not isinstance(entries[position], dict):
        raise InvalidResponse("the answer has no log-probabilities")
    found = entries[position].get("top_logprobs")
    if not isinstance(found, list) or not found:
        raise InvalidResponse("the answer has no log-probabilities of its most likely tokens")
    tokens = [_token(item) for item in found]
    if entries[position].get("token") not in [token for token, _ in tokens]:
        tokens.append(_token(entries[position]))
    kept = [(token, log_p) for token, log_p in tokens if log_p > _STAND_IN]
    # Rounded log p of a nearly certain token and a few others may sum to a little more than one.
    if math.fsum(math.exp(log_p) for _, log_p in kept) > 1.01:
        raise InvalidResponse("the probabilities of an answer's tokens sum to more than one")
    return kept


def read_token_ids(content: Any, wanted: Sequence[int], position: int = 0) -> dict[int, float]:
    """Return the log p of the tokens that were asked for by id.

    Raises:
        InvalidResponse: one of them is missing.
    """
    found = dict(read_top(content, position))
    names = {token: f"token_id:{token}" for token in wanted}
    if missing := [name for name in names.values() if name not in found]:
        raise InvalidResponse(f"the answer has no log-probability for {missing[0]}")
    return {token: found[name] for token, name in names.items()}


def _choice(content: Any) -> dict[str, Any]:
    choices = content.get("choices") if isinstance(content, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise InvalidResponse("the answer has no choices")
    return choices[0]


def _token(item: Any) -> tuple[str, float]:
    token, log_p = (item.get("token"), item.get("logprob")) if isinstance(item, dict) else (None, None)
    if not isinstance(token, str) or not isinstance(log_p, int | float) or isinstance(log_p, bool):
        raise InvalidResponse("the answer's log-probabilities are malformed")
    if not -math.inf < log_p <= _LARGEST:  # no NaN either
        raise InvalidResponse(f"the answer has a log-probability of {log_p!r:.20}")
    return token, max(min(float(log_p), 0.0), 2 * _STAND_IN)


async def tokenise(
    client: Client, asked: list[dict[str, Any]], *, attempts: int | None = None, **options: Any
) -> Tokens:
    """Return the tokens of a chat as the server makes them, up to where the answer begins.

    Raises:
        RequestFailed: the server does not tell.
    """

    def read(content: Any) -> Tokens:
        tokens = content.get("tokens") if isinstance(content, dict) else None
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise InvalidResponse("the server's tokens are malformed")
        return tuple(tokens)

    settings = client.settings
    if settings.root is None:
        raise RequestFailed("the server's address has no /v1", "missing")
    body = {"model": settings.model, "messages": asked, **options}
    return await client.ask(f"{settings.root}/tokenize", body, read, attempts=attempts)


async def detect_server(client: Client, *, scores: bool) -> Server:
    """Ask a server for its models, then a first question about a grey picture; `scores`: for scores too.

    Raises:
        ModelError: the server is not there, does not know the model, or does not answer.
    """
    settings = client.settings
    listed, remarks = await _models(client)
    own = next((model for model in listed if model.get("id") == settings.model), {})
    first = _FirstQuestion(client, listed)
    wanted = [settings.top_logprobs] if settings.top_logprobs is not None else list(_TOPS)
    await first.ask(wanted if scores else [])
    is_vllm = own.get("owned_by") == "vllm"
    software = await _version(client) if is_vllm else None
    found = replace(first.capabilities, penalty=is_vllm)
    if settings.prompt.answer_prefix or found.top_logprobs:
        found = replace(found, prefill=await _continues_prefill(client, found))
    if is_vllm and found.top_logprobs:
        found = replace(found, tokens=await _tells_tokens(client, found))
    revision = settings.model + (f"@{first.system_fingerprint}" if first.system_fingerprint else "")
    remarks += first.remarks
    return Server(found, revision, software, tuple(f"{settings.name}: {remark}" for remark in remarks))


async def _models(client: Client) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the models that a server lists, and what is to be remarked about that."""
    settings = client.settings

    def read(content: Any) -> list[dict[str, Any]]:
        data = content.get("data") if isinstance(content, dict) else None
        if not isinstance(data, list):
            raise InvalidResponse("the list of models has no data")
        return [entry for entry in data if isinstance(entry, dict)]

    try:
        listed = await client.ask("/models", None, read, attempts=_TRIES)
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
    if not any(entry.get("id") == settings.model for entry in listed):
        return listed, [f"the server does not list {settings.model!r} among its models"]
    return listed, []


class _FirstQuestion:
    """Asks about a grey picture, and leaves out one by one what the server says that it does not take."""

    def __init__(self, client: Client, listed: list[dict[str, Any]]) -> None:
        self._client, self._listed = client, listed
        self.capabilities = Capabilities()
        self.remarks: list[str] = []
        self.system_fingerprint: str | None = None

    async def ask(self, tops: list[int]) -> None:
        """Ask until the server answers; `tops` are the counts of log-probabilities to try, the best first."""
        wants_scores = bool(tops)
        while True:
            self.capabilities = replace(self.capabilities, top_logprobs=tops[0] if tops else 0)
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
        if wants_scores and not self.capabilities.top_logprobs:
            self.remarks.append(
                "the server gives no log-probabilities, so that there are no label scores; "
                "headline: generated on the card judges by its text"
            )

    def _leaves_out(self, said: str, tops: list[int]) -> bool:
        """Change what is sent by what a refusal names; False where it names nothing that can be left out."""
        now = self.capabilities
        if "max_tokens" in said and now.limit == "max_tokens":
            self.capabilities = replace(now, limit="max_completion_tokens")
        elif (
            re.search("log_?prob", said, re.IGNORECASE)
            and tops
            and self._client.settings.top_logprobs is None
        ):
            del tops[0]
        elif re.search(r"\bseed\b", said) and now.seed:
            self.capabilities = replace(now, seed=False)
        elif "temperature" in said and now.temperature:
            self.capabilities = replace(now, temperature=False)
            self.remarks.append("the server does not take temperature 0: its answers may differ between runs")
        else:
            return False
        return True

    async def _question(self, scores: bool) -> None:
        settings = self._client.settings
        top = self.capabilities.top_logprobs
        options: dict[str, Any] = {"logprobs": True, "top_logprobs": top} if scores else {}

        def read(content: Any) -> None:
            if scores:
                read_top(content)
            else:
                read_text(content)
            said = content.get("system_fingerprint")
            self.system_fingerprint = settings.redact(said) if isinstance(said, str) and said else None

        body = _trial(settings, self.capabilities, **options)
        await self._client.ask(CHAT, body, read, attempts=_TRIES if scores else None)

    def _error(self, failure: RequestFailed) -> ModelError:
        settings = self._client.settings
        ids = [str(entry.get("id")) for entry in self._listed]
        if ids and settings.model not in ids:
            known = settings.redact(", ".join(ids[:5]))
            return ModelError(
                f"{settings.name}: {settings.base_url} does not know the model {settings.model!r} "
                f"({failure}); it has {known}; choose with --model-args model="
            )
        return ModelError(
            f"{settings.name}: {settings.base_url} does not answer a question about a grey picture: {failure}"
        )


def _trial(
    settings: ServerSettings, capabilities: Capabilities, *, max_tokens: int = 1, **options: Any
) -> dict[str, Any]:
    """Return the body of a question about a grey picture."""
    url = image_url(GREY)
    return chat_request(settings, capabilities, QUESTION, url, max_tokens=max_tokens, **options)


async def _version(client: Client) -> str:
    def read(content: Any) -> str:
        version = content.get("version") if isinstance(content, dict) else None
        if not isinstance(version, str):
            raise InvalidResponse("no version")
        return f"vllm {version}"

    return await _answer(client, client.ask(f"{client.settings.root}/version", None, read)) or "vllm"


async def _answer(
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


async def _continues_prefill(client: Client, capabilities: Capabilities) -> bool:
    """Tell whether the server continues a prefilled answer.

    One that knows the two switches of a turn refuses to have both on; one that ignores them answers.
    """
    if client.settings.prefill is not None:
        return client.settings.prefill

    async def answers(**switches: bool) -> bool:
        body = _trial(client.settings, capabilities, prefill="The", **switches)
        # Some servers break on a last message of the assistant's, and answer 500 to nothing else.
        question = client.ask(CHAT, body, lambda _: True, attempts=_TRIES)
        return await _answer(client, question, failing=("unreachable",)) is True

    contradicted = await answers(add_generation_prompt=True, continue_final_message=True)
    return not contradicted and await answers()


async def _tells_tokens(client: Client, capabilities: Capabilities) -> bool:
    """Tell whether the server tokenises, tells the log p of any token, and lets one be forced.

    Forcing must not change what it tells: with vLLM's `--logprobs-mode processed_logprobs` it would.
    """
    settings = client.settings
    tokens = await _answer(client, tokenise(client, messages(settings.prompt, "A B", None)))
    if settings.root is None or tokens is None or len(set(tokens)) < 2:
        return False
    pair = sorted(set(tokens))[-2:]

    async def log_p(position: int, **options: Any) -> dict[int, float] | None:
        body = _trial(settings, capabilities, max_tokens=position + 1, **token_options(pair), **options)
        return await _answer(
            client,
            client.ask(CHAT, body, lambda content: read_token_ids(content, pair, position), attempts=_TRIES),
        )

    free, forced = await log_p(0), await log_p(0, allowed_token_ids=pair[:1])
    further = await log_p(1, allowed_token_ids=pair[:1], ignore_eos=True)
    if free is None or forced is None or further is None:
        return False
    return all(abs(forced[token] - free[token]) < _SAME for token in pair)
