"""Where an OpenAI-compatible server is and how to ask it: a card's endpoint, changed by model arguments."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from model_adapters.catalog.card import PROMPT_ARGUMENTS, Endpoint, ModelCard, PromptSettings, with_prompt
from model_adapters.interface import ModelError

DEFAULT_KEY = "OPENAI_API_KEY"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

# Model argument -> key of the endpoint.
_OF_ENDPOINT = {
    "base_url": "base_url",
    "model": "model",
    "api_key_env": "api_key_env",
    "timeout": "timeout_seconds",
    "attempts": "attempts",
    "concurrency": "concurrency",
    "input_price": "input_price",
    "output_price": "output_price",
    "currency": "currency",
}
_OTHERS = ("top_logprobs", "prefill", "backoff")
KNOWN = (*_OF_ENDPOINT, *_OTHERS, *PROMPT_ARGUMENTS)

_LONGEST_DETAIL = 200
_PIXELS = re.compile(r"data:[\w/+.-]+;base64,[^\s\"']*|[\w+/=-]{50,}")  # of a picture, whole or in part


@dataclass(frozen=True)
class ServerSettings:
    """A server and how it is asked.

    `top_logprobs` None asks for as many as the server allows; `prefill` True vouches that the server goes on
    with a last turn of the assistant's, as `--model-args prefill=yes` does for one that cannot be asked.
    `backoff` is the first wait before a retry, in seconds; it doubles with each.
    """

    name: str  # the card's
    endpoint: Endpoint
    prompt: PromptSettings
    top_logprobs: int | None = None
    prefill: bool | None = None
    backoff: float = 1.0
    key: str | None = field(default=None, repr=False)
    key_variable: str = DEFAULT_KEY

    @property
    def base_url(self) -> str:
        """Return the address up to and with /v1, without a slash at its end."""
        return self.endpoint.base_url.rstrip("/")

    @property
    def root(self) -> str | None:
        """Return the address before /v1, where a server may have more than the API; None without a /v1."""
        return self.base_url.removesuffix("/v1") if self.base_url.endswith("/v1") else None

    @property
    def on_this_machine(self) -> bool:
        """Tell whether the server is reached without a network."""
        return urlsplit(self.base_url).hostname in _LOOPBACK

    def clean(self, text: str) -> str:
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
    if unknown := sorted(set(arguments) - set(KNOWN)):
        raise ModelError(
            f"{card.name}: unknown model argument {unknown[0]!r}; the openai engine has {', '.join(KNOWN)}"
        )
    endpoint = _endpoint(card, arguments)
    top = arguments.get("top_logprobs")
    key, variable = _key(card.name, endpoint)
    return ServerSettings(
        name=card.name,
        endpoint=endpoint,
        prompt=with_prompt(card, arguments).prompt,
        top_logprobs=None if top is None else _number(card.name, "top_logprobs", top, int, 1),
        prefill=_yes(card.name, arguments["prefill"]) if "prefill" in arguments else None,
        backoff=_number(card.name, "backoff", arguments.get("backoff", "1"), float, 0),
        key=key,
        key_variable=variable,
    )


def _endpoint(card: ModelCard, arguments: Mapping[str, str]) -> Endpoint:
    content: dict[str, Any] = card.endpoint.model_dump() if card.endpoint is not None else {}
    content.update({_OF_ENDPOINT[name]: arguments[name] for name in _OF_ENDPOINT if name in arguments})
    if not content.get("base_url"):
        raise ModelError(
            f"{card.name}: no server is named; give the card the key endpoint, or add "
            "--model-args base_url=http://host:port/v1"
        )
    content.setdefault("model", card.hub_id or card.name)
    try:
        endpoint = Endpoint.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = str(first["loc"][0])
        argument = next((name for name, key in _OF_ENDPOINT.items() if key == place), place)
        raise ModelError(f"{card.name}: model argument {argument!r}: {first['msg']}") from error
    _check_address(card.name, endpoint.base_url)
    return endpoint


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


def _key(name: str, endpoint: Endpoint) -> tuple[str | None, str]:
    """Return the key and its variable. The default one goes only over https or to this machine."""
    variable = endpoint.api_key_env or DEFAULT_KEY
    key = os.environ.get(variable, "").strip()
    if endpoint.api_key_env is not None and not key:
        raise ModelError(f"{name}: the environment variable {variable} holds no key; set it, or name another")
    if key and not (key.isascii() and key.isprintable()):
        raise ModelError(f"{name}: the environment variable {variable} holds characters that no key has")
    parts = urlsplit(endpoint.base_url)
    safe = parts.scheme == "https" or parts.hostname in _LOOPBACK
    return (key or None) if safe or endpoint.api_key_env is not None else None, variable


def _number(name: str, argument: str, value: str, kind: Callable[[str], Any], least: int) -> Any:
    try:
        number = kind(value)
        valid = least <= number < float("inf")
    except ValueError:
        valid = False
    if not valid:
        raise ModelError(f"{name}: model argument {argument!r}: {value!r} is no number of at least {least}")
    return number


def _yes(name: str, value: str) -> bool:
    if value.lower() not in ("yes", "no"):
        raise ModelError(f"{name}: model argument 'prefill': {value!r} is neither yes nor no")
    return value.lower() == "yes"
