"""The HTTP side of the OpenAI-compatible engine: one pool of connections, retries, and what they cost.

Requests run on an event loop in a thread of its own, so that the engine also works where another loop
runs already, as in a notebook, and so that an interrupt of the caller ends them at once.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent import futures
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeVar

from model_adapters.engines.openai.settings import ServerSettings
from model_adapters.interface import ModelError, Usage

Value = TypeVar("Value")

# refused: the server says no to this very question; missing: it says that there is no such thing;
# unusable: it answers, but not with what was asked for; failed: it says that it cannot now, or falls silent;
# unreachable: there is no connection.
Kind = Literal["refused", "missing", "unusable", "failed", "unreachable"]

_LISTEN = 0.2  # seconds after which a waiting caller looks whether it was interrupted
_CONNECT_SECONDS = 10.0
_DOUBLINGS = 5  # of the first wait
_LONGEST_ASKED = 60.0  # seconds of a Retry-After that are waited
_UNAUTHORISED = (401, 403)
_COUNTS = ("prompt_tokens", "completion_tokens")
_MISSING = 404
_PASSING = (408, 409, 425, 429)


class UnusableAnswer(Exception):  # noqa: N818  (an answer, not a fault of this program)
    """An answer that came does not hold what was asked for; the message says what is wrong with it."""


class RequestFailed(Exception):  # noqa: N818
    """A request got no usable answer, after all its attempts; `kind` says how that went."""

    def __init__(self, reason: str, kind: Kind) -> None:
        super().__init__(reason)
        self.kind = kind


class KeyRefusedError(ModelError):
    """The server does not accept the key, or wants one."""


class Client:
    """Asks one server. Every method but `run` and `close` runs on the client's own loop."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._library = _httpx()
        self._http = self._open()
        self._random = random.Random()
        self._requests = self._retries = self._failures = self._input = self._output = 0
        self._tells_usage = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="openai-engine", daemon=True)
        self._thread.start()

    @property
    def usage(self) -> Usage:
        """Return what was used so far. `failures` counts questions that got no usable answer in the end.

        Tokens and cost are those that the server stated; where an answer came without them, the cost is
        not known.
        """
        endpoint, cost = self.settings.endpoint, None
        prices = endpoint.input_price, endpoint.output_price
        if prices[0] is not None and prices[1] is not None and self._tells_usage:
            cost = (self._input * prices[0] + self._output * prices[1]) / 1e6
        return Usage(
            requests=self._requests,
            retries=self._retries,
            failures=self._failures,
            input_tokens=self._input,
            output_tokens=self._output,
            cost=cost,
            currency=None if cost is None else endpoint.currency,
        )

    def run(self, work: Coroutine[Any, Any, Value]) -> Value:
        """Do work on the loop and wait for it; an interrupt cancels it."""
        if self._loop.is_closed():
            work.close()
            raise ModelError(f"{self.settings.name}: the engine is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not futures.wait([future], timeout=_LISTEN).done:
                pass
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Close the connections and end the loop."""
        if self._loop.is_closed():
            return
        self.run(self._http.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def each(
        self, items: Sequence[Any], ask: Callable[[Any], Awaitable[Value]]
    ) -> list[Value | RequestFailed]:
        """Ask about every item, so many at a time; what fails is in its item's place, in order.

        Raises:
            ModelError: no item can be asked about; the others are given up.
        """
        places = asyncio.Semaphore(self.settings.endpoint.concurrency)

        async def one(item: Any) -> Value | RequestFailed:
            async with places:
                try:
                    return await ask(item)
                except RequestFailed as failure:
                    self._failures += 1
                    return failure

        tasks = [asyncio.ensure_future(one(item)) for item in items]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(
        self,
        method: str,
        url: str,
        body: dict[str, Any] | None,
        read: Callable[[Any], Value],
        *,
        attempts: int | None = None,
    ) -> Value:
        """Send a request and read its JSON answer, again where that may help.

        Tried again: no connection, no answer in time, a dropped connection, 408, 409, 425, 429, 5xx, no
        JSON, and what `read` calls unusable. The wait doubles, and a random share of it is waited, so that
        many clients do not come back together; a Retry-After is waited in full, up to a minute.

        Raises:
            RequestFailed: no usable answer.
            ModelError: the key is not accepted.
        """
        limit = attempts or self.settings.endpoint.attempts
        for attempt in range(1, limit + 1):
            self._requests += 1
            self._retries += attempt > 1
            failure, asked = await self._attempt(method, url, body)
            if failure is None:
                try:
                    return read(asked)
                except UnusableAnswer as error:
                    failure, asked = RequestFailed(str(error), "unusable"), None
            if failure.kind in ("refused", "missing") or attempt == limit:
                raise failure
            await asyncio.sleep(self._wait(attempt, asked))
        raise AssertionError("at least one attempt is made")

    async def _attempt(
        self, method: str, url: str, body: dict[str, Any] | None
    ) -> tuple[RequestFailed | None, Any]:
        """Return no failure and the answer's content, or a failure and the seconds that the server asks for."""
        seconds = self.settings.endpoint.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                response = await self._http.request(method, url, json=body)
        except (TimeoutError, self._library.TimeoutException) as error:
            connecting = isinstance(error, self._library.ConnectTimeout)
            return RequestFailed(
                f"no answer within {seconds:g} s", "unreachable" if connecting else "failed"
            ), None
        except self._library.RequestError as error:
            connecting = isinstance(error, self._library.ConnectError)
            reason = self.settings.clean(str(error)) or type(error).__name__
            return RequestFailed(
                f"the connection failed: {reason}", "unreachable" if connecting else "failed"
            ), None
        if response.status_code != 200:
            return self._no(response), _asked_wait(response.headers.get("Retry-After"))
        try:
            content = response.json()
        except (ValueError, RecursionError):
            return RequestFailed("the answer is no JSON", "unusable"), None
        self._count(content)
        return None, content

    def _no(self, response: Any) -> RequestFailed:
        status, settings = response.status_code, self.settings
        detail = settings.clean(_detail(response))
        reason = f"the server answered {status}" + (f" ({detail})" if detail else "")
        if status in _UNAUTHORISED:
            what = "does not accept the key in" if settings.key else "wants a key; set"
            raise KeyRefusedError(
                f"{settings.name}: {settings.base_url} {what} the environment variable "
                f"{settings.key_variable}: {reason}"
            )
        if status == _MISSING:
            return RequestFailed(reason, "missing")
        passing = status >= 500 or status in _PASSING
        return RequestFailed(reason, "failed" if passing else "refused")

    def _count(self, content: Any) -> None:
        if not isinstance(content, dict) or "choices" not in content:
            return
        usage = content.get("usage")
        counts = [usage.get(key) if isinstance(usage, dict) else None for key in _COUNTS]
        known = [count for count in counts if isinstance(count, int) and count >= 0]
        if len(known) < len(counts):
            self._tells_usage = False
            return
        self._input += known[0]
        self._output += known[1]

    def _wait(self, attempt: int, asked: float | None) -> float:
        share = self._random.random() * self.settings.backoff
        if asked is not None:
            return min(asked, _LONGEST_ASKED) + share
        return share * 2 ** min(attempt - 1, _DOUBLINGS)

    def _open(self) -> Any:
        settings, library = self.settings, self._library
        concurrency, seconds = settings.endpoint.concurrency, settings.endpoint.timeout_seconds
        return library.AsyncClient(
            headers={"Authorization": f"Bearer {settings.key}"} if settings.key else {},
            timeout=library.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds)),
            limits=library.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            follow_redirects=False,  # the key goes to the named server alone
            trust_env=not settings.on_this_machine,  # no proxy leads to this machine
        )


def _httpx() -> Any:
    try:
        import httpx2
    except ImportError as error:
        raise ModelError(
            "the openai engine needs httpx2; install it with: pip install 'mllm-harness[api]'"
        ) from error
    return httpx2


def _detail(response: Any) -> str:
    """Return what a server says about its refusal, from the forms of OpenAI, FastAPI and plain text."""
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return str(response.text)
    for key in ("error", "detail", "message"):
        if isinstance(content, dict) and content.get(key):
            content = content[key]
    return content if isinstance(content, str) else str(content)


def _asked_wait(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which holds a number or a date."""
    if header is None:
        return None
    try:
        return max(0.0, min(float(header), _LONGEST_ASKED))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
