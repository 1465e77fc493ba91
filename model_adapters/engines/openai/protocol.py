"""What is sent to an OpenAI-compatible server, and what is read out of its answers."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from model_adapters.catalog.card import PromptSettings
from model_adapters.engines.openai.client import UnusableAnswer
from model_adapters.interface import Generation

SEED = 0
_MOST = 1e-3  # of a log p: zero, and what rounding adds
_STAND_IN = -9000.0  # vLLM writes -9999 for a probability of zero


@dataclass(frozen=True)
class Dialect:
    """Which parts of the protocol a server understands.

    `top_logprobs` is how many tokens it tells with their log p, 0 for none. With `prefill` it goes on with a
    last turn of the assistant's. With `tokens` it tells its tokens and the log p of any of them, as vLLM
    does; `penalty` means that it knows vLLM's `repetition_penalty`.
    """

    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    seed: bool = True
    temperature: bool = True
    top_logprobs: int = 0
    prefill: bool = False
    tokens: bool = False
    penalty: bool = False


def picture(image: Image.Image) -> str:
    """Return an image as a data URL of a PNG, which loses nothing."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def messages(
    prompt: PromptSettings, question: str, url: str | None, begun: str | None = None
) -> list[dict[str, Any]]:
    """Return the turns of a question about a picture; `begun` is where the answer's own turn begins."""
    turns: list[dict[str, Any]] = []
    if prompt.system is not None:
        turns.append({"role": "system", "content": prompt.system})
    image = [] if url is None else [{"type": "image_url", "image_url": {"url": url}}]
    turns.append({"role": "user", "content": [*image, {"type": "text", "text": question}]})
    if begun:
        turns.append({"role": "assistant", "content": begun})
    return turns


def turn_options(begun: str | None) -> dict[str, bool]:
    """Return what makes a server go on with a begun answer instead of a new one."""
    return {"add_generation_prompt": False, "continue_final_message": True} if begun else {}


def token_options(tokens: Sequence[int]) -> dict[str, Any]:
    """Return what makes a server tell the log p of just these tokens, by their ids."""
    return {"logprobs": True, "logprob_token_ids": list(tokens), "return_tokens_as_token_ids": True}


def request(
    model: str,
    dialect: Dialect,
    turns: Sequence[Mapping[str, Any]],
    *,
    max_tokens: int,
    **options: Any,
) -> dict[str, Any]:
    """Return the body of a greedy request; the same question always has the same one."""
    body: dict[str, Any] = {"model": model, "messages": list(turns), dialect.limit: max_tokens}
    if dialect.temperature:
        body["temperature"] = 0
    if dialect.seed:
        body["seed"] = SEED
    return {**body, **options}


def read_text(content: Any) -> Generation:
    """Return the text that was written; `finished` is False where the token limit cut it off.

    Raises:
        UnusableAnswer: there is no choice, or no text and nothing that tells why.
    """
    choice = _choice(content)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise UnusableAnswer("the answer has no message")
    finished = choice.get("finish_reason") != "length"
    text = message.get("content")
    if text is None and isinstance(message.get("refusal"), str):
        text = message["refusal"]
    if text is None and not finished:
        text = ""  # all its tokens went into thoughts, which the server keeps apart
    if not isinstance(text, str):
        raise UnusableAnswer("the answer has no text")
    return Generation(text, finished=finished)


def read_top(content: Any, position: int = 0) -> list[tuple[str, float]]:
    """Return the most likely tokens at a position of an answer, as strings with their log p.

    Raises:
        UnusableAnswer: there are none, or a log p is no number that one can be.
    """
    entry = _positions(content, position)
    found = entry.get("top_logprobs")
    if not isinstance(found, list) or not found:
        raise UnusableAnswer("the answer has no log-probabilities of its most likely tokens")
    tokens = [_token(item) for item in found]
    if entry.get("token") not in [token for token, _ in tokens]:
        tokens.append(_token(entry))
    kept = [(token, log_p) for token, log_p in tokens if log_p > _STAND_IN]
    # Rounded log p of a nearly certain token and a few others may sum to a little more than one.
    if math.fsum(math.exp(log_p) for _, log_p in kept) > 1.01:
        raise UnusableAnswer("the probabilities of an answer's tokens sum to more than one")
    return kept


def read_token_ids(content: Any, wanted: Sequence[int], position: int = 0) -> dict[int, float]:
    """Return the log p of the tokens that were asked for by id.

    Raises:
        UnusableAnswer: one of them is missing.
    """
    found = dict(read_top(content, position))
    names = {token: f"token_id:{token}" for token in wanted}
    if missing := [name for name in names.values() if name not in found]:
        raise UnusableAnswer(f"the answer has no log-probability for {missing[0]}")
    return {token: found[name] for token, name in names.items()}


def _choice(content: Any) -> dict[str, Any]:
    choices = content.get("choices") if isinstance(content, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise UnusableAnswer("the answer has no choices")
    return choices[0]


def _positions(content: Any, position: int) -> dict[str, Any]:
    logprobs = _choice(content).get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(entries, list) or len(entries) <= position or not isinstance(entries[position], dict):
        raise UnusableAnswer("the answer has no log-probabilities")
    return dict(entries[position])


def _token(item: Any) -> tuple[str, float]:
    token, log_p = (item.get("token"), item.get("logprob")) if isinstance(item, dict) else (None, None)
    if not isinstance(token, str) or not isinstance(log_p, int | float) or isinstance(log_p, bool):
        raise UnusableAnswer("the answer's log-probabilities are malformed")
    if not -math.inf < log_p <= _MOST:  # no NaN either
        raise UnusableAnswer(f"the answer has a log-probability of {log_p!r:.20}")
    return token, max(min(float(log_p), 0.0), 2 * _STAND_IN)
