"""Ask a server that tells its tokens for the log p of labels, step by step along their tokens."""

from __future__ import annotations

import asyncio
from typing import Any

from model_adapters.engines.openai.client import Client, UnusableAnswer
from model_adapters.engines.openai.handshake import tokenise
from model_adapters.engines.openai.protocol import (
    Dialect,
    messages,
    read_token_ids,
    request,
    token_options,
    turn_options,
)
from model_adapters.engines.openai.token_tree import (
    Begun,
    LabelTree,
    Tokens,
    label_tree,
    one_begins_another,
    way_to,
)
from model_adapters.interface import LabelScores, ModelError, Query

# Characters at a question's end with which its labels are tokenised: what stands before cannot change how
# an answer after the turn's end is cut.
_TAIL = 32
_Key = tuple[str, tuple[str, ...]]


class TokenScores:
    """Scores labels by their tokens. What was learnt of a question's labels is kept for the next one."""

    def __init__(self, client: Client, dialect: Dialect) -> None:
        self._client, self._dialect, self._settings = client, dialect, client.settings
        self._trees: dict[_Key, LabelTree] = {}
        self._learning = asyncio.Lock()
        self._ways: dict[tuple[str, Tokens], Begun | None] = {}

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
            way = await self._way(tail, path)
            if way is None:
                names = [n for n, t in zip(query.labels, tree.labels, strict=True) if t[: len(path)] == path]
                raise ModelError(
                    f"{self._settings.name}: labels share their beginning ({' and '.join(map(repr, names[:2]))}),"
                    " and the server cannot be led through it; headline: generated on the card needs no scores"
                )
            known[path] = await self._next(query, url, way, tokens)
        return tree.scores(known)

    async def _next(self, query: Query, url: str, way: Begun, tokens: Tokens) -> dict[int, float]:
        begun = self._settings.prompt.answer_prefix + way.text
        position = len(way.forced)
        options: dict[str, Any] = {**turn_options(begun), **token_options(tokens)}
        if way.forced:
            options |= {"allowed_token_ids": [way.forced[-1]], "ignore_eos": True}
        turns = messages(self._settings.prompt, query.prompt, url, begun)
        body = request(
            self._settings.endpoint.model, self._dialect, turns, max_tokens=position + 1, **options
        )
        return await self._client.ask(
            "POST",
            f"{self._settings.base_url}/chat/completions",
            body,
            lambda content: read_token_ids(content, tokens, position),
        )

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

    async def _way(self, tail: str, path: Tokens) -> Begun | None:
        key = (tail, path)
        async with self._learning:
            if key not in self._ways:
                self._ways[key] = await way_to(path, self._text, lambda text: self._written(tail, text))
            return self._ways[key]

    async def _written(self, tail: str, text: str) -> Tokens:
        """Return the tokens of a text where the answer begins, spaces before it as the template has them."""
        prefix = self._settings.prompt.answer_prefix
        before = await self._turns(tail, prefix)
        whole = await self._turns(tail, prefix + text)
        if whole[: len(before)] != before or len(whole) == len(before):
            raise ModelError(
                f"{self._settings.name}: {text!r} cannot be written after the prompt; set prompt.label_prefix "
                "or prompt.answer_prefix on the model's card"
            )
        return whole[len(before) :]

    async def _end(self, tail: str, text: str) -> Tokens:
        """Return the tokens that end a turn after a text, without spaces before them."""
        begun = self._settings.prompt.answer_prefix + text
        turns = messages(self._settings.prompt, tail, None, begun)
        open_turn = await self._turns(tail, begun)
        closed = await tokenise(self._client, turns, add_generation_prompt=False)
        end = closed[len(open_turn) :] if closed[: len(open_turn)] == open_turn else ()
        for index in range(len(end)):
            if (await self._text(end[index : index + 1])).strip():
                return end[index:]
        return ()

    async def _turns(self, tail: str, begun: str) -> Tokens:
        turns = messages(self._settings.prompt, tail, None, begun)
        return await tokenise(self._client, turns, **turn_options(begun))

    async def _text(self, tokens: Tokens) -> str:
        def read(content: Any) -> str:
            text = content.get("prompt") if isinstance(content, dict) else None
            if not isinstance(text, str):
                raise UnusableAnswer("the server's text of tokens is malformed")
            return text

        body = {"model": self._settings.endpoint.model, "tokens": list(tokens)}
        return await self._client.ask("POST", f"{self._settings.root}/detokenize", body, read)
