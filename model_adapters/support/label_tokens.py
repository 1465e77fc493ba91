"""The tokens of a question's labels, as the model would have to write them after the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from model_adapters.interface import ModelError

Tokens = tuple[int, ...]


def label_tokens(
    tokenizer: Any,
    rendered: str,
    labels: Sequence[str],
    *,
    prefix: str,
    add_special_tokens: bool,
    end_of_turn: Callable[[], int],
) -> tuple[Tokens, ...]:
    """Return each label's tokens in the context of the rendered prompt.

    Prompt and label are tokenised together, and what follows the prompt's own tokens is the label. Where
    the label's first characters merge with the prompt's last ones, the label is tokenised alone, as a
    model that continues the prompt's tokens would have to write it.

    Where one label's tokens begin another's ("normal", "normal variant"), the end-of-turn token is
    appended to every label of the question: else the shorter one would win by leaving its end open.

    Raises:
        ModelError: a label has no tokens, two have the same, or a label cannot be written after the prompt.
    """
    prompt_ids = _ids(tokenizer, rendered, add_special_tokens)
    found = tuple(
        _in_context(tokenizer, rendered, prompt_ids, prefix + x, add_special_tokens) for x in labels
    )
    for i, tokens in enumerate(found):
        if tokens in found[:i]:
            other = labels[found.index(tokens)]
            raise ModelError(
                f"labels {other!r} and {labels[i]!r} have the same tokens and cannot be told apart"
            )
    if one_begins_another(found):
        return tuple((*tokens, end_of_turn()) for tokens in found)
    return found


def one_begins_another(labels: Sequence[Tokens]) -> bool:
    """Tell whether a label's tokens begin another's, so that only the end of its turn tells them apart."""
    return any(a != b and b[: len(a)] == a for a in labels for b in labels)


def _in_context(
    tokenizer: Any, rendered: str, prompt_ids: Tokens, label: str, add_special_tokens: bool
) -> Tokens:
    joint = _ids(tokenizer, rendered + label, add_special_tokens)
    if joint[: len(prompt_ids)] == prompt_ids and len(joint) > len(prompt_ids):
        return joint[len(prompt_ids) :]
    alone = _ids(tokenizer, label, False)
    written = tokenizer.decode(alone, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if not alone or written.strip() != label.strip():
        raise ModelError(
            f"label {label!r} cannot be written after a prompt that ends in {rendered[-20:]!r}; "
            "set prompt.label_prefix or prompt.answer_prefix on the model's card"
        )
    return alone


def _ids(tokenizer: Any, text: str, add_special_tokens: bool) -> Tokens:
    return tuple(tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"])


def continuations(labels: Sequence[Tokens]) -> tuple[Tokens, ...]:
    """Return the shortest set of token paths that visits all that must be read before a label's last token.

    A path serves every label whose tokens but the last begin it; labels of one token need none.
    """
    needed = {tokens[:-1] for tokens in labels if len(tokens) > 1}
    return tuple(sorted(p for p in needed if not any(q != p and q[: len(p)] == p for q in needed)))


def path_of(tokens: Tokens, paths: Sequence[Tokens]) -> int:
    """Return the index of a path that begins with all tokens of a label but its last."""
    before = tokens[:-1]
    return next(index for index, path in enumerate(paths) if path[: len(before)] == before)


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
