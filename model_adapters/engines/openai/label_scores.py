"""Label scores of an OpenAI-compatible server: by its own tokens where it tells them, else by token strings.

By tokens, exact, as the transformers engine's are: vLLM tokenises a chat on request, tells the log p of any
token (`logprob_token_ids`), and can be made to write a given one (`allowed_token_ids`). So a label's tokens
are those that the model would have to write, and each is scored by the model's own distribution, however
unlikely it is.

By strings: any other server gives the most likely first tokens. A token counts for a label that it begins,
where it begins no other label of the question: the label's score is the log of the summed probability of
those tokens. So " ben" and "benign" both count for "benign" beside "normal". A token that begins several
labels is followed, where the server continues a prefilled answer. Only what the server stated enters: a label
without a token has no score.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_adapters.engines.openai.client import Client, InvalidResponse
from model_adapters.engines.openai.protocol import (
    CHAT,
    Capabilities,
    chat_request,
    continuing,
    messages,
    read_token_ids,
    token_options,
    tokenise,
)
from model_adapters.interface import LabelScores, ModelError, Query
from model_adapters.support.label_tokens import Tokens, branchings, one_begins_another

# A beginning that labels share is left out below this share of the labels' probability: following it, or
# not, moves no label's share by more than that.
NEGLIGIBLE = 0.01
MOST_TOKENS = 128  # vLLM's limit of tokens whose log p can be asked for at once
# What tokenizers write for a space or a line's end where they show a token as it is in their vocabulary.
_SPACES = " \t\r\n\u00a0\u2581\u0120\u010a"
# Characters at a question's end with which its labels are tokenised: what stands before cannot change how
# an answer after the turn's end is cut.
_TAIL = 32

TopTokens = Sequence[tuple[str, float]]  # the most likely next tokens as strings, with log p


@dataclass(frozen=True)
class LabelBeginnings:
    """The most likely tokens, read as beginnings of labels.

    `own` maps a label's index to the log p of the tokens that begin it alone, `shared` a text that begins
    several labels to its log p.
    """

    own: Mapping[int, float]
    shared: Mapping[str, float]


class NoScoreError(Exception):
    """A question's labels cannot be scored; the message says which label and why."""


def label_that_begins_another(labels: Sequence[str]) -> tuple[str, str] | None:
    """Return a label and another that it begins, whose first tokens cannot tell the two apart."""
    pairs = ((a, b) for i, a in enumerate(labels) for j, b in enumerate(labels) if i != j)
    return next(((a, b) for a, b in pairs if b.startswith(a)), None)


def read_beginnings(labels: Sequence[str], tokens: TopTokens, before: str = "") -> LabelBeginnings:
    """Read tokens that follow `before`, which is "" or a beginning of several labels.

    Spaces before the answer are no part of it, and a token of spaces alone begins no label.
    """
    own: dict[int, float] = {}
    shared: dict[str, float] = {}
    for token, log_p in tokens:
        text = before + (token if before else token.lstrip(_SPACES))
        begun = _begun_by(labels, text)
        if text == before or not begun:
            continue
        if len(begun) == 1:
            own[begun[0]] = _log_sum(own.get(begun[0]), log_p)
        else:
            shared[text] = _log_sum(shared.get(text), log_p)
    return LabelBeginnings(own, shared)


async def score_by_strings(
    labels: Sequence[str], tokens_after: Callable[[str], Awaitable[TopTokens]], *, can_follow: bool
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
    labels: tuple[str, ...], tokens_after: Callable[[str], Awaitable[TopTokens]], can_follow: bool
) -> dict[int, float]:
    """Return each label's log p, following shared beginnings, the most likely of those that are known first."""
    tokens = await tokens_after("")
    read = read_beginnings(labels, tokens)
    scores = dict(read.own)
    total = math.fsum(map(math.exp, (*read.own.values(), *read.shared.values())))
    to_follow = dict(read.shared)
    while to_follow:
        text = min(to_follow, key=lambda known: (-to_follow[known], known))
        log_p = to_follow.pop(text)
        begun = _begun_by(labels, text)
        weighty = math.exp(log_p) > NEGLIGIBLE * total
        if not weighty and all(index in scores for index in begun):
            continue
        if not can_follow:
            raise NoScoreError(_shared([labels[index] for index in begun], text))
        tokens = await tokens_after(text)
        read = read_beginnings(labels, tokens, text)
        for index in begun if weighty else ():
            if index not in read.own and not any(labels[index].startswith(longer) for longer in read.shared):
                raise NoScoreError(_missing(labels[index], len(tokens), f" after {text!r}"))
        for index, deeper in read.own.items():
            scores[index] = _log_sum(scores.get(index), log_p + deeper)
        for longer, deeper in read.shared.items():
            to_follow[longer] = _log_sum(to_follow.get(longer), log_p + deeper)
    for index, label in enumerate(labels):
        if index not in scores:
            raise NoScoreError(_missing(label, len(tokens)))
    return scores


def _begun_by(labels: Sequence[str], text: str) -> list[int]:
    return [index for index, label in enumerate(labels) if label.startswith(text)]


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


def _log_sum(log_p: float | None, log_q: float) -> float:
    """Return log(p + q); None is log 0."""
    if log_p is None:
        return log_q
    high, low = max(log_p, log_q), min(log_p, log_q)
    return high + math.log1p(math.exp(low - high))


@dataclass(frozen=True)
class LabelTree:
    """The labels' tokens, each up to the first that tells its label from the others.

    `steps` maps what was written before to the tokens whose log p is needed there.
    """

    labels: tuple[Tokens, ...]

    @property
    def steps(self) -> Mapping[Tokens, Tokens]:
        """Return the next tokens by the tokens before them, the shortest beginning first."""
        return branchings(self.labels)

    def scores(self, known: Mapping[Tokens, Mapping[int, float]]) -> LabelScores:
        """Sum log p over each label's tokens; `known` has the log p of each step's next tokens."""
        totals = tuple(
            sum(known[tokens[:index]][token] for index, token in enumerate(tokens)) for tokens in self.labels
        )
        return LabelScores(totals, totals)


def label_tree(
    name: str, labels: Sequence[str], whole: Sequence[Tokens], ends: Sequence[Tokens]
) -> LabelTree:
    """Cut labels after the first token that tells them apart.

    `whole` are the tokens of each label, `ends` those that end the turn after it. Where one label's tokens
    begin another's, the end of the turn is a token of every label, as in the transformers engine; else `ends`
    is not read.

    Raises:
        ModelError: two labels have the same tokens, or there are too many to ask for.
    """
    for index, tokens in enumerate(whole):
        if tokens in whole[:index]:
            first = labels[list(whole).index(tokens)]
            raise ModelError(
                f"{name}: labels {first!r} and {labels[index]!r} have the same tokens and cannot be told apart"
            )
    if one_begins_another(whole):
        if not all(ends):
            raise ModelError(
                f"{name}: one label begins another, and the server's chat template writes no end of a turn "
                "that would tell them apart; headline: generated on the card needs no scores"
            )
        whole = [(*tokens, end[0]) for tokens, end in zip(whole, ends, strict=True)]
    tree = LabelTree(tuple(_cut(tokens, whole) for tokens in whole))
    if max(map(len, tree.steps.values())) > MOST_TOKENS:
        raise ModelError(f"{name}: more than {MOST_TOKENS} labels cannot be scored by a server")
    return tree


def _cut(tokens: Tokens, whole: Sequence[Tokens]) -> Tokens:
    for count in range(1, len(tokens)):
        if sum(other[:count] == tokens[:count] for other in whole) == 1:
            return tokens[:count]
    return tokens


@dataclass(frozen=True)
class ForcedPrefix:
    """How to bring a model behind a label's first tokens: a text to continue, then tokens to force."""

    text: str
    forced: Tokens


async def forced_prefix(
    path: Tokens, written: Callable[[Tokens], Awaitable[str]], tokens_of: Callable[[str], Awaitable[Tokens]]
) -> ForcedPrefix | None:
    """Return how to have exactly the tokens `path` written first, None where it cannot be done.

    The last token can be forced, and any that are equal to it before it; what comes before those must be a
    text that the server cuts into the same tokens again, with or without the space that begins it: many
    chat templates write that themselves.
    """
    if not path:
        return ForcedPrefix("", ())
    start = len(path) - 1
    while start and path[start - 1] == path[-1]:
        start -= 1
    if not start:
        return ForcedPrefix("", path)
    for count in (start, len(path)):
        whole = await written(path[:count])
        for text in dict.fromkeys((whole, whole.lstrip(" "))):
            if text and await tokens_of(text) == path[:count]:
                return ForcedPrefix(text, path[count:])
    return None


class TokenScorer:
    """Scores labels by their tokens. What was learnt of a question's labels is kept for the next one."""

    def __init__(self, client: Client, capabilities: Capabilities) -> None:
        self._client, self._capabilities, self._settings = client, capabilities, client.settings
        self._trees: dict[tuple[str, tuple[str, ...]], LabelTree] = {}
        self._learning = asyncio.Lock()
        self._prefixes: dict[tuple[str, Tokens], ForcedPrefix | None] = {}

    async def score(self, query: Query, url: str) -> LabelScores:
        """Return log p of a query's labels up to the first token that tells each from the others.

        Raises:
            ModelError: labels cannot be told apart.
            RequestFailed: the server does not answer.
        """
        tail = query.prompt[-_TAIL:]
        tree = await self._tree(tail, query.labels)
        known = {}
        for path, tokens in tree.steps.items():
            prefill = await self._forced_prefix(tail, path)
            if prefill is None:
                names = [n for n, t in zip(query.labels, tree.labels, strict=True) if t[: len(path)] == path]
                raise ModelError(
                    f"{self._settings.name}: labels share their beginning ({' and '.join(map(repr, names[:2]))}),"
                    " and the server cannot be led through it; headline: generated on the card needs no scores"
                )
            known[path] = await self._next(query, url, prefill, tokens)
        return tree.scores(known)

    async def _next(self, query: Query, url: str, prefill: ForcedPrefix, tokens: Tokens) -> dict[int, float]:
        text = self._settings.prompt.answer_prefix + prefill.text
        position = len(prefill.forced)
        options = token_options(tokens)
        if prefill.forced:
            options |= {"allowed_token_ids": [prefill.forced[-1]], "ignore_eos": True}
        body = chat_request(
            self._settings,
            self._capabilities,
            query.prompt,
            url,
            max_tokens=position + 1,
            prefill=text,
            **options,
        )
        return await self._client.ask(CHAT, body, lambda content: read_token_ids(content, tokens, position))

    async def _tree(self, tail: str, labels: tuple[str, ...]) -> LabelTree:
        key = (tail, labels)
        async with self._learning:  # one question of a batch learns for all
            if key not in self._trees:
                prefix = self._label_prefix
                whole = [await self._written(tail, prefix + label) for label in labels]
                ends: list[Tokens] = []
                if one_begins_another(whole):
                    ends = [await self._end(tail, prefix + label) for label in labels]
                self._trees[key] = label_tree(self._settings.name, labels, whole, ends)
            return self._trees[key]

    @property
    def _label_prefix(self) -> str:
        """Return what stands before a label: a space after words that begin the answer, as elsewhere.

        Without such words the chat template itself writes what it has between its own and an answer.
        """
        prompt = self._settings.prompt
        if prompt.label_prefix is not None:
            return prompt.label_prefix
        return " " if prompt.answer_prefix and not prompt.answer_prefix[-1].isspace() else ""

    async def _forced_prefix(self, tail: str, path: Tokens) -> ForcedPrefix | None:
        key = (tail, path)
        async with self._learning:
            if key not in self._prefixes:
                self._prefixes[key] = await forced_prefix(
                    path, self._text, lambda text: self._written(tail, text)
                )
            return self._prefixes[key]

    async def _written(self, tail: str, text: str) -> Tokens:
        """Return the tokens of a text where the answer begins, spaces before it as the template has them."""
        prefix = self._settings.prompt.answer_prefix
        before = await self._tokens(tail, prefix)
        whole = await self._tokens(tail, prefix + text)
        if whole[: len(before)] != before or len(whole) == len(before):
            raise ModelError(
                f"{self._settings.name}: {text!r} cannot be written after the prompt; set prompt.label_prefix "
                "or prompt.answer_prefix on the model's card"
            )
        return whole[len(before) :]

    async def _end(self, tail: str, text: str) -> Tokens:
        """Return the tokens that end a turn after a text, without spaces before them."""
        answer = self._settings.prompt.answer_prefix + text
        open_turn = await self._tokens(tail, answer)
        asked = messages(self._settings.prompt, tail, None, answer)
        closed = await tokenise(self._client, asked, add_generation_prompt=False)
        end = closed[len(open_turn) :] if closed[: len(open_turn)] == open_turn else ()
        for index in range(len(end)):
            if (await self._text(end[index : index + 1])).strip():
                return end[index:]
        return ()

    async def _tokens(self, tail: str, answer: str) -> Tokens:
        asked = messages(self._settings.prompt, tail, None, answer)
        return await tokenise(self._client, asked, **continuing(answer))

    async def _text(self, tokens: Tokens) -> str:
        def read(content: Any) -> str:
            text = content.get("prompt") if isinstance(content, dict) else None
            if not isinstance(text, str):
                raise InvalidResponse("the server's text of tokens is malformed")
            return text

        body = {"model": self._settings.model, "tokens": list(tokens)}
        return await self._client.ask(f"{self._settings.root}/detokenize", body, read)
