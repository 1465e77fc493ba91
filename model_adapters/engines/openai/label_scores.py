"""Label scores out of the most likely first tokens, which an OpenAI-compatible server gives as strings.

A token counts for a label that it begins, where it begins no other label of the question: the label's
score is the log of the summed probability of those tokens. So " ben" and "benign" both count for "benign"
beside "normal". A token that begins several labels is followed, where the server can go on with a
beginning of the answer. Only what the server stated enters: a label without a token has no score.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from model_adapters.interface import LabelScores

# A beginning that labels share is left out below this share of the labels' probability: following it, or
# not, moves no label's share by more than that.
NEGLIGIBLE = 0.01

# What tokenizers write for a space or a line's end where they show a token as it is in their vocabulary.
_SPACES = " \t\r\n\u00a0\u2581\u0120\u010a"

Tokens = Sequence[tuple[str, float]]  # the most likely next tokens, with log p


@dataclass(frozen=True)
class Reading:
    """The most likely tokens, read as beginnings of labels.

    `own` maps a label's index to the log p of the tokens that begin it alone, `shared` a text that begins
    several labels to its log p.
    """

    own: Mapping[int, float]
    shared: Mapping[str, float]


class NoScoreError(Exception):
    """A question's labels cannot be scored; the message says which label and why."""


def begins_another(labels: Sequence[str]) -> tuple[str, str] | None:
    """Return a label and another that it begins, whose first tokens cannot tell the two apart."""
    pairs = ((a, b) for i, a in enumerate(labels) for j, b in enumerate(labels) if i != j)
    return next(((a, b) for a, b in pairs if b.startswith(a)), None)


def read_tokens(labels: Sequence[str], tokens: Tokens, before: str = "") -> Reading:
    """Read tokens that follow `before`, which is "" or a beginning of several labels.

    Spaces before the answer are no part of it, and a token of spaces alone begins no label.
    """
    own: dict[int, float] = {}
    shared: dict[str, float] = {}
    for token, log_p in tokens:
        text = before + (token if before else token.lstrip(_SPACES))
        begun = [index for index, label in enumerate(labels) if label.startswith(text)]
        if text == before or not begun:
            continue
        if len(begun) == 1:
            own[begun[0]] = _add(own.get(begun[0]), log_p)
        else:
            shared[text] = _add(shared.get(text), log_p)
    return Reading(own, shared)


async def score_labels(
    labels: Sequence[str], tokens_after: Callable[[str], Awaitable[Tokens]], *, can_follow: bool
) -> LabelScores:
    """Score labels by their first tokens that tell them apart.

    `tokens_after("")` gives the tokens that may begin the answer, `tokens_after(text)` those that may follow
    its beginning `text`. `raw` and `normalised` are equal: both are the log of the probability that the
    answer begins as this label does and no other. They compare within a question, not between questions.
    A label that has no score, or a shared beginning that cannot be followed, makes an error of the question.
    """
    try:
        scores = await _scores(tuple(labels), tokens_after, can_follow)
    except NoScoreError as error:
        return LabelScores((), (), error=str(error))
    raw = tuple(scores[index] for index in range(len(labels)))
    return LabelScores(raw, raw)


async def _scores(
    labels: tuple[str, ...], tokens_after: Callable[[str], Awaitable[Tokens]], can_follow: bool
) -> dict[int, float]:
    """Return each label's log p, following shared beginnings, the most likely of those that are known first."""
    tokens = await tokens_after("")
    reading = read_tokens(labels, tokens)
    scores = dict(reading.own)
    total = math.fsum(map(math.exp, (*reading.own.values(), *reading.shared.values())))
    to_follow = dict(reading.shared)
    while to_follow:
        text = min(to_follow, key=lambda known: (-to_follow[known], known))
        log_p = to_follow.pop(text)
        begun = [index for index, label in enumerate(labels) if label.startswith(text)]
        weighty = math.exp(log_p) > NEGLIGIBLE * total
        if not weighty and all(index in scores for index in begun):
            continue
        if not can_follow:
            raise NoScoreError(_shared([labels[index] for index in begun], text))
        tokens = await tokens_after(text)
        reading = read_tokens(labels, tokens, text)
        if weighty:
            _need_all(labels, begun, reading, len(tokens), text)
        for index, deeper in reading.own.items():
            scores[index] = _add(scores.get(index), log_p + deeper)
        for longer, deeper in reading.shared.items():
            to_follow[longer] = _add(to_follow.get(longer), log_p + deeper)
    for index, label in enumerate(labels):
        if index not in scores:
            raise NoScoreError(_missing(label, len(tokens)))
    return scores


def _need_all(labels: Sequence[str], begun: Sequence[int], reading: Reading, count: int, text: str) -> None:
    for index in begun:
        if index not in reading.own and not any(
            labels[index].startswith(longer) for longer in reading.shared
        ):
            raise NoScoreError(_missing(labels[index], count, f" after {text!r}"))


def _missing(label: str, count: int, after: str = "") -> str:
    return (
        f"label {label!r} is not among the {count} most likely tokens{after}; "
        "headline: generated on the card needs no scores"
    )


def _shared(labels: Sequence[str], text: str) -> str:
    names = " and ".join(map(repr, labels[:2]))
    return (
        f"labels share their beginning: {text!r} begins {names}, and the server does not go on with a begun "
        "answer; headline: generated on the card needs no scores"
    )


def _add(log_p: float | None, log_q: float) -> float:
    """Return log(p + q); None is log 0."""
    if log_p is None:
        return log_q
    high, low = max(log_p, log_q), min(log_p, log_q)
    return high + math.log1p(math.exp(low - high))
