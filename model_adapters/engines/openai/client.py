"""Where an OpenAI-compatible server is, and the client that asks it: connections, retries, and what they cost.

Retries, waits and typed errors are those of the `openai` library. Requests run on an event loop in a thread of
its own, so that the engine also works where another loop runs already, as in a notebook, and so that an
interrupt of the caller ends them at once.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent import futures
from contextlib import ExitStack
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from anyio.from_thread import start_blocking_portal
from pydantic import Field, ValidationError

from model_adapters.catalog.card import PROMPT_ARGUMENTS, Endpoint, ModelCard, PromptSettings, with_prompt
from model_adapters.interface import ModelError, Usage

try:
    import httpx2
    import openai
except ImportError as missing:
    raise ModelError(
        "the openai engine needs the openai library; install it with: pip install 'mllm-harness[api]'"
    ) from missing

Value = TypeVar("Value")

# refused: the server says no to this very question; missing: it says that there is no such thing;
# unusable: it answers, but not with what was asked for; failed: it says that it cannot now, or falls silent;
# unreachable: there is no connection.
Kind = Literal["refused", "missing", "unusable", "failed", "unreachable"]

DEFAULT_KEY = "OPENAI_API_KEY"
ARGUMENTS = (
    *("base_url", "model", "api_key_env", "timeout", "attempts", "concurrency"),
    *("input_price", "output_price", "currency", "top_logprobs", "prefill", "backoff"),
    *PROMPT_ARGUMENTS,
)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_LONGEST_DETAIL = 200
_PIXELS = re.compile(r"data:[\w/+.-]+;base64,[^\s\"']*|[\w+/=-]{50,}")  # of a picture, whole or in part
_POLL = 0.2  # seconds after which a waiting caller looks whether it was interrupted
_CONNECT_SECONDS = 10.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # seconds, the library's own
_PASSING = (408, 409, 429)
# All that is sent beside the key: the library would add what OPENAI_* variables hold, and facts of this machine.
_HEADERS = {
    *("accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"),
    "x-stainless-retry-count",
}


class ServerSettings(Endpoint):
    """A server and how it is asked: a card's endpoint, changed by model arguments.

    `top_logprobs` None asks for as many as the server allows; `prefill` True vouches that the server continues
    a last message of the assistant's, as `--model-args prefill=yes` does for one that cannot be asked.
    `backoff` is about the first wait before a retry, in seconds; it doubles with each.
    """

    name: str  # the card's
    prompt: PromptSettings
    top_logprobs: int | None = Field(default=None, ge=1)
    prefill: bool | None = None
    backoff: float = Field(default=_FIRST_WAIT, ge=0)
    key: str | None = Field(default=None, repr=False, exclude=True)

    @property
    def key_variable(self) -> str:
        """Return the name of the environment variable that holds the key."""
        return self.api_key_env or DEFAULT_KEY

    @property
    def root(self) -> str | None:
        """Return the address before /v1, where a server may have more than the API; None without a /v1."""
        return self.base_url.removesuffix("/v1") if self.base_url.endswith("/v1") else None

    @property
    def on_this_machine(self) -> bool:
        """Tell whether the server is reached without a network."""
        return urlsplit(self.base_url).hostname in _LOOPBACK

    def redact(self, text: str) -> str:
        """Return what a server said as one short line, without the key and without pictures."""
        if self.key:
            text = text.replace(self.key, "***")
        line = " ".join(_PIXELS.sub("…", text).split())
        return line if len(line) <= _LONGEST_DETAIL else line[:_LONGEST_DETAIL] + "…"


def server_settings(card: ModelCard, model_args: Mapping[str, str] | None) -> ServerSettings:
    """Read a card's endpoint and the model arguments; the key comes from the environment.

    A card without an endpoint takes its server from `base_url`, the model's name there from `model`, else
    from its hub id or name.

    Raises:
        ModelError: an argument is unknown or wrong, no server is named, or the key is not there.
    """
    arguments = dict(model_args or {})
    if unknown := sorted(set(arguments) - set(ARGUMENTS)):
        raise ModelError(
            f"{card.name}: unknown model argument {unknown[0]!r}; the openai engine has {', '.join(ARGUMENTS)}"
        )
    content: dict[str, Any] = {"model": card.hub_id or card.name}
    content |= card.endpoint.model_dump() if card.endpoint is not None else {}
    content |= {key: value for key, value in arguments.items() if key not in PROMPT_ARGUMENTS}
    if "timeout" in content:
        content["timeout_seconds"] = content.pop("timeout")
    if not content.get("base_url"):
        raise ModelError(
            f"{card.name}: no server is named; give the card the key endpoint, or add "
            "--model-args base_url=http://host:port/v1"
        )
    content["base_url"] = content["base_url"].rstrip("/")
    try:
        settings = ServerSettings(name=card.name, prompt=with_prompt(card, arguments).prompt, **content)
    except ValidationError as error:
        first = error.errors()[0]
        argument = str(first["loc"][0]).removesuffix("_seconds")
        raise ModelError(f"{card.name}: model argument {argument!r}: {first['msg']}") from None
    _check_address(card.name, settings.base_url)
    return settings.model_copy(update={"key": _key(settings)})


def _check_address(name: str, address: str) -> None:
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise ModelError(f"{name}: base_url is no address such as http://host:8000/v1") from None
    if parts.username is not None or parts.password is not None:
        raise ModelError(
            f"{name}: base_url must not hold a user or password; name the variable of the key in api_key_env"
        )
    if not usable or parts.query or parts.fragment:
        raise ModelError(f"{name}: base_url is no plain address such as http://host:8000/v1")


def _key(settings: ServerSettings) -> str | None:
    """Return the key. The default variable's goes only over https or to this machine."""
    name, variable, chosen = settings.name, settings.key_variable, settings.api_key_env is not None
    key = os.environ.get(variable, "").strip()
    if chosen and not key:
        raise ModelError(f"{name}: the environment variable {variable} holds no key; set it, or name another")
    if key and not (key.isascii() and key.isprintable()):
        raise ModelError(f"{name}: the environment variable {variable} holds characters that no key has")
    safe = settings.base_url.startswith("https:") or settings.on_this_machine
    return key if key and (safe or chosen) else None


class InvalidResponse(Exception):  # noqa: N818  (an answer, not a fault of this program)
    """An answer that came does not hold what was asked for; the message says what is wrong with it."""


class RequestFailed(Exception):  # noqa: N818
    """A request got no usable answer, after all its attempts; `kind` says how that went."""

    def __init__(self, reason: str, kind: Kind) -> None:
        super().__init__(reason)
        self.kind = kind


class KeyRefusedError(ModelError):
    """The server does not accept the key, or wants one."""


class _Connections(httpx2.AsyncClient):
    """The connections to one server: the key goes there alone, with nothing that was not meant to be sent.

    A whole answer must come within the timeout, also from a server that sends a byte now and then.
    """

    def __init__(self, settings: ServerSettings) -> None:
        seconds, count = settings.timeout_seconds, settings.concurrency
        super().__init__(
            timeout=httpx2.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds)),
            limits=httpx2.Limits(max_connections=count, max_keepalive_connections=count),
            follow_redirects=False,
            trust_env=not settings.on_this_machine,  # no proxy leads to this machine
        )
        self._seconds, self._key = seconds, settings.key
        self.sent = 0

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request; see `httpx2.AsyncClient`."""
        self.sent += 1
        for name in set(request.headers) - _HEADERS:
            del request.headers[name]
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        try:
            async with asyncio.timeout(self._seconds):
                return await super().send(request, **options)
        except TimeoutError as error:
            raise httpx2.ReadTimeout("no whole answer in time", request=request) from error


class _Library(openai.AsyncOpenAI):
    """The library's client, whose waits begin at the `backoff` of the settings."""

    backoff = _FIRST_WAIT

    def _calculate_retry_timeout(self, remaining: int, options: Any, headers: Any = None) -> float:
        seconds: float = super()._calculate_retry_timeout(remaining, options, headers)
        return seconds if headers and "retry-after" in headers else seconds * self.backoff / _FIRST_WAIT


class Client:
    """Asks one server. `map` and `ask` run on the client's own loop, which `run` enters."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._connections = _Connections(settings)
        # Which key is sent, if any, is for `_Connections` to say: the library wants one.
        self._library = _Library(api_key="none", base_url=settings.base_url, http_client=self._connections)
        self._library.backoff = settings.backoff
        self._asked = self._failures = self._input = self._output = 0
        self._tells_usage = True
        self._loop = ExitStack()
        self._portal = self._loop.enter_context(start_blocking_portal())

    @property
    def usage(self) -> Usage:
        """Return what was used so far. `failures` counts questions that got no usable answer in the end.

        Tokens and cost are those that the server stated; where an answer came without them, the cost is
        not known.
        """
        settings, cost = self.settings, None
        if settings.input_price is not None and settings.output_price is not None and self._tells_usage:
            cost = (self._input * settings.input_price + self._output * settings.output_price) / 1e6
        return Usage(
            requests=self._connections.sent,
            retries=self._connections.sent - self._asked,
            failures=self._failures,
            input_tokens=self._input,
            output_tokens=self._output,
            cost=cost,
            currency=None if cost is None else settings.currency,
        )

    def run(self, work: Callable[[], Awaitable[Value]]) -> Value:
        """Do work on the loop and wait for it; an interrupt cancels it.

        Raises:
            ModelError: the client is closed.
        """
        if self._connections.is_closed:
            raise ModelError(f"{self.settings.name}: the engine is closed")
        future = self._portal.start_task_soon(work)
        try:
            while not futures.wait([future], timeout=_POLL).done:
                pass
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Close the connections and end the loop."""
        if not self._connections.is_closed:
            self.run(self._connections.aclose)
        self._loop.close()

    async def map(
        self, ask: Callable[[Any], Awaitable[Value]], items: Sequence[Any]
    ) -> list[Value | RequestFailed]:
        """Ask about every item, so many at a time; what fails is in its item's place, in order.

        Raises:
            ModelError: no item can be asked about; the others are given up.
        """
        places = asyncio.Semaphore(self.settings.concurrency)

        async def one(item: Any) -> Value | RequestFailed:
            async with places:
                try:
                    return await ask(item)
                except RequestFailed as failure:
                    self._failures += 1
                    return failure

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(item)) for item in items]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def ask(
        self,
        url: str,
        body: dict[str, Any] | None,
        read: Callable[[Any], Value],
        *,
        attempts: int | None = None,
    ) -> Value:
        """Send a request (a POST where it has a body) and read its JSON answer, again where that may help.

        A `url` that is no whole address is one below the server's.

        Tried again: what the library tries again (no connection, no answer in time, 408, 409, 429, 5xx), no
        JSON, and what `read` calls invalid.

        Raises:
            RequestFailed: no usable answer.
            ModelError: the key is not accepted.
        """
        left, wait = (attempts or self.settings.attempts) - 1, self.settings.backoff
        self._asked += 1
        while True:
            response = await self._send(url, body, left)
            try:
                return read(self._content(response))
            except InvalidResponse as error:
                left -= int(response.request.headers.get("x-stainless-retry-count", 0)) + 1
                if left < 0:
                    raise RequestFailed(str(error), "unusable") from error
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _send(self, url: str, body: dict[str, Any] | None, retries: int) -> httpx2.Response:
        # Errors of the library hold the request with its key, and what the server said: none is passed on.
        options: Any = {"max_retries": retries}
        try:
            if body is None:
                return await self._library.get(url, cast_to=httpx2.Response, options=options)
            return await self._library.post(url, cast_to=httpx2.Response, body=body, options=options)
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except openai.APITimeoutError as error:
            reason, cause = f"no answer within {self.settings.timeout_seconds:g} s", error.__cause__
        except openai.APIConnectionError as error:
            cause = error.__cause__
            reason = f"the connection failed: {self.settings.redact(str(cause)) or type(cause).__name__}"
        connecting = isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout)
        raise RequestFailed(reason, "unreachable" if connecting else "failed")

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        settings, said = self.settings, error.body
        if isinstance(said, dict):  # as OpenAI says it, and FastAPI
            said = said.get("message") or said.get("detail") or said
        detail = settings.redact(str(said))
        reason = f"the server answered {error.status_code}" + (f" ({detail})" if detail else "")
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            what = "does not accept the key in" if settings.key else "wants a key; set"
            return KeyRefusedError(
                f"{settings.name}: {settings.base_url} {what} the environment variable "
                f"{settings.key_variable}: {reason}"
            )
        if isinstance(error, openai.NotFoundError):
            return RequestFailed(reason, "missing")
        passing = error.status_code >= 500 or error.status_code in _PASSING
        return RequestFailed(reason, "failed" if passing else "refused")

    def _content(self, response: httpx2.Response) -> Any:
        """Return an answer's JSON, the tokens that it states counted."""
        try:
            content = response.json()
        except (ValueError, RecursionError):
            raise InvalidResponse("the answer is no JSON") from None
        if isinstance(content, dict) and "choices" in content:
            usage = content.get("usage")
            stated = usage if isinstance(usage, dict) else {}
            counts = [stated.get(key) for key in ("prompt_tokens", "completion_tokens")]
            known = [count for count in counts if isinstance(count, int) and count >= 0]
            self._tells_usage &= len(known) == len(counts)
            if len(known) == len(counts):
                self._input += known[0]
                self._output += known[1]
        return content
