"""What vLLM is asked, and what it answers or refuses, one query at a time."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model_adapters.engines.transformers.chat import ChatFormat
from model_adapters.engines.vllm.load import own_errors
from model_adapters.engines.vllm.settings import DEFAULT_LOGPROBS
from model_adapters.interface import LabelScores, ModelError, Query, one_line
from model_adapters.support.label_tokens import Tokens

# A place in the tree of labels (the tokens that lead to it) -> log-probabilities of tokens that may follow there.
NextToken = Mapping[Tokens, Mapping[int, float]]

AT_MOST = 128  # tokens whose log-probabilities vLLM gives in one request
_AT_ONCE = 256  # requests whose pictures are prepared before vLLM reads the first of them


@dataclass(frozen=True)
class Request:
    """A query's prompt, continued by the tokens `after`, and how vLLM goes on from there."""

    query: Query
    sampling: Any = field(repr=False)  # vLLM's SamplingParams
    after: Tokens = ()


@dataclass(frozen=True)
class Refusal:
    """Why vLLM does not answer a request."""

    reason: str


class Requests:
    """Puts requests to vLLM as token ids with one placeholder for the image, which vLLM expands."""

    def __init__(self, llm: Any, tokenizer: Any, chat: ChatFormat, name: str) -> None:
        from model_adapters.support.batching import Batcher

        self._llm, self._tokenizer, self._chat, self._name = llm, tokenizer, chat, name
        self._batcher: Batcher[Request, Any] = Batcher(_AT_ONCE)

    def run(self, requests: Sequence[Request]) -> list[Any]:
        """Return vLLM's answer (its RequestOutput) to each request, or a `Refusal` of that one alone.

        Raises:
            ModelError: vLLM fails.
        """
        from model_adapters.support.batching import Failure

        results = self._batcher.run(requests, self._ask)
        return [Refusal(result.reason) if isinstance(result, Failure) else result for result in results]

    def _ask(self, requests: Sequence[Request]) -> list[Any]:
        from model_adapters.support.batching import UnreadableItemError, is_out_of_memory

        prompts = [self._prompt(request) for request in requests]
        refusals: tuple[type[BaseException], ...] = (ValueError, OSError, ZeroDivisionError)
        refusals += own_errors("VLLMClientError")
        failures: tuple[type[BaseException], ...] = (RuntimeError, *own_errors())
        try:
            return list(self._llm.generate(prompts, [r.sampling for r in requests], use_tqdm=False))
        except refusals as error:
            raise UnreadableItemError(f"vLLM refuses the image or prompt: {_cause(error)}") from error
        except failures as error:
            if is_out_of_memory(error):
                raise
            raise ModelError(f"{self._name}: vLLM failed ({one_line(error)})") from error

    def _prompt(self, request: Request) -> dict[str, Any]:
        rendered = self._chat.render(request.query.prompt)
        special = self._chat.adds_special_tokens(rendered)
        ids = self._tokenizer(rendered, add_special_tokens=special)["input_ids"]
        return {
            "prompt_token_ids": [*ids, *request.after],
            "multi_modal_data": {"image": request.query.image.convert("RGB")},
        }


def _cause(error: BaseException) -> str:
    """Return the first cause of an error: what vLLM puts around it quotes objects by their place in memory."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)


def next_token(wanted: Sequence[int], most_likely: int | None) -> Any:
    """Return SamplingParams that ask for the log-probabilities of given next tokens, `AT_MOST` of them.

    With `most_likely`, or from a vLLM that cannot be asked for given tokens, those of that number of most
    likely ones instead: a wanted token may not be among them.
    """
    from vllm import SamplingParams

    if most_likely is None and "logprob_token_ids" not in inspect.signature(SamplingParams).parameters:
        most_likely = DEFAULT_LOGPROBS
    chosen: dict[str, Any] = {"logprobs": most_likely}
    if most_likely is None:
        chosen = {"logprob_token_ids": list(wanted)}
    return SamplingParams(temperature=0.0, max_tokens=1, detokenize=False, **chosen)


def log_probabilities(answer: Any) -> Mapping[int, float]:
    """Return the next token's log-probabilities that an answer holds, by token."""
    return {token: float(entry.logprob) for token, entry in answer.outputs[0].logprobs[0].items()}


def label_scores(labels: Sequence[Tokens], next_token: NextToken) -> LabelScores:
    """Return each label's sum of log p over its tokens, and that sum divided by their number.

    A token whose log-probability is not there leaves all labels of the query without scores: a sum without
    it, or with a guess, could be larger than one that is whole.
    """
    totals = []
    for tokens in labels:
        total = 0.0
        for length, token in enumerate(tokens):
            value = next_token[tokens[:length]].get(token)
            if value is None:
                return _without(
                    f"vLLM gave no log-probability for token {token}, number {length + 1} of a label: it is "
                    "not among the most likely ones; --model-args logprobs=N asks for more"
                )
            if not math.isfinite(value):
                return _without("a label's log-likelihood is not finite")
            total += value
        totals.append(total)
    return LabelScores(tuple(totals), tuple(total / len(t) for total, t in zip(totals, labels, strict=True)))


def _without(reason: str) -> LabelScores:
    return LabelScores((), (), error=reason)
