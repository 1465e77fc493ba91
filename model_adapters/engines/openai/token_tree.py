"""Label scores by a server's own tokens, where it tells them: exact, as the transformers engine's are.

vLLM tokenises a chat on request, tells the log p of any token (`logprob_token_ids`), and can be made to
write a given one (`allowed_token_ids`). So a label's tokens are those that the model would have to write,
and each is scored by the model's own distribution, however unlikely it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from model_adapters.interface import LabelScores, ModelError

Tokens = tuple[int, ...]

MOST_TOKENS = 128  # vLLM's limit of tokens whose log p can be asked for at once


@dataclass(frozen=True)
class LabelTree:
    """The labels' tokens, each up to the first that tells its label from the others.

    `steps` maps what was written before to the tokens whose log p is needed there.
    """

    labels: tuple[Tokens, ...]

    @property
    def steps(self) -> Mapping[Tokens, Tokens]:
        """Return the next tokens by the tokens before them, the shortest beginning first."""
        found: dict[Tokens, set[int]] = {}
        for tokens in self.labels:
            for index, token in enumerate(tokens):
                found.setdefault(tokens[:index], set()).add(token)
        return {
            path: tuple(sorted(found[path])) for path in sorted(found, key=lambda path: (len(path), path))
        }

    def scores(self, known: Mapping[Tokens, Mapping[int, float]]) -> LabelScores:
        """Sum log p over each label's tokens; `known` has the log p of each step's next tokens."""
        totals = tuple(
            sum(known[tokens[:index]][token] for index, token in enumerate(tokens)) for tokens in self.labels
        )
        return LabelScores(totals, totals)


def one_begins_another(whole: Sequence[Tokens]) -> bool:
    """Tell whether a label's tokens begin another's, so that only the end of its turn tells them apart."""
    return any(a != b and b[: len(a)] == a for a in whole for b in whole)


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
class Begun:
    """How to bring a model behind a label's first tokens: a text to go on from, then tokens to force."""

    text: str
    forced: Tokens


async def way_to(
    path: Tokens, written: Callable[[Tokens], Awaitable[str]], tokens_of: Callable[[str], Awaitable[Tokens]]
) -> Begun | None:
    """Return how to have exactly the tokens `path` written first, None where it cannot be done.

    The last token can be forced, and any that are equal to it before it; what comes before those must be a
    text that the server cuts into the same tokens again, with or without the space that begins it: many
    chat templates write that themselves.
    """
    if not path:
        return Begun("", ())
    start = len(path) - 1
    while start and path[start - 1] == path[-1]:
        start -= 1
    if not start:
        return Begun("", path)
    for count in (start, len(path)):
        whole = await written(path[:count])
        for text in dict.fromkeys((whole, whole.lstrip(" "))):
            if text and await tokens_of(text) == path[:count]:
                return Begun(text, path[count:])
    return None
