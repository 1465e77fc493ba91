"""Label log-likelihoods from one-token requests: a walk through the tree of the labels' tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from model_adapters.interface import LabelScores
from model_adapters.support.label_tokens import Tokens

# A place in the tree (the tokens that lead to it) -> log-probabilities of tokens that may follow there.
NextToken = Mapping[Tokens, Mapping[int, float]]


def branchings(labels: Sequence[Tokens]) -> dict[Tokens, tuple[int, ...]]:
    """Return every place in the tree at which a label goes on, and the tokens with which labels do so.

    The empty tuple, the end of the prompt, comes first. Each place needs one request, whose answer holds
    the next token's distribution there.
    """
    found: dict[Tokens, set[int]] = {}
    for tokens in labels:
        for length, token in enumerate(tokens):
            found.setdefault(tokens[:length], set()).add(token)
    return {place: tuple(sorted(found[place])) for place in sorted(found, key=lambda p: (len(p), p))}


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
