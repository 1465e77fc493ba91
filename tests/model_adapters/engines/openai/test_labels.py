"""Label scores out of token strings, against plain computations over a whole tree of answers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_adapters.engines.openai.label_scores import (
    NEGLIGIBLE,
    forced_prefix,
    label_that_begins_another,
    label_tree,
    score_by_strings,
)
from model_adapters.interface import LabelScores

LETTERS = st.text("abc", min_size=1, max_size=4)
LABELS = st.lists(LETTERS, min_size=2, max_size=5, unique=True).filter(
    lambda x: label_that_begins_another(x) is None
)
TOKENS = st.text(" abcd", max_size=5)


def score(labels: Sequence[str], tokens: dict[str, list[tuple[str, float]]], follow: bool) -> LabelScores:
    async def after(text: str) -> list[tuple[str, float]]:
        return tokens[text]

    return asyncio.run(score_by_strings(labels, after, can_follow=follow))


@given(LABELS, st.lists(st.tuples(TOKENS, st.floats(0.001, 1)), min_size=1, max_size=12))
def test_a_label_gets_the_probability_of_all_tokens_that_begin_it_alone(
    labels: list[str], weighted: list[tuple[str, float]]
) -> None:
    total = sum(weight for _, weight in weighted)
    found = score(labels, {"": [(token, math.log(w / total)) for token, w in weighted]}, follow=False)

    own = dict.fromkeys(labels, 0.0)
    shared = 0.0
    for token, weight in weighted:
        begun = [label for label in labels if token.strip(" ") and label.startswith(token.lstrip(" "))]
        if len(begun) == 1:
            own[begun[0]] += weight / total
        elif begun:
            shared = max(
                shared,
                sum(w for t, w in weighted if t.lstrip(" ") == token.lstrip(" ")) / total,
            )
    if all(own.values()) and shared == 0:
        assert found.error is None
        assert found.raw == pytest.approx([math.log(own[label]) for label in labels])
        assert found.normalised == found.raw
    elif not all(own.values()):
        missing = [label for label in labels if not own[label]]
        assert found.raw == ()
        assert found.error is not None
        assert any(repr(label) in found.error for label in missing) or "share their beginning" in found.error
    elif found.error is None:  # what is shared weighs next to nothing
        assert found.raw == pytest.approx([math.log(own[label]) for label in labels])
        assert shared <= NEGLIGIBLE * (1 + 1e-9)
    else:
        assert "share their beginning" in found.error


@given(LABELS, st.lists(st.floats(0.1, 1), min_size=5, max_size=5), st.integers(1, 3))
def test_shared_beginnings_are_followed_to_the_exact_probability_of_each_label(
    labels: list[str], drawn: list[float], length: int
) -> None:
    weights = dict(zip(labels, drawn, strict=False))
    total = sum(weights.values()) / 0.9  # a tenth goes to answers that are no label
    after: dict[str, list[tuple[str, float]]] = {}
    for before in {label[:n] for label in labels for n in range(0, len(label), length)}:
        begun = {label: weights[label] for label in labels if label.startswith(before)}
        mass = sum(begun.values()) if before else total
        after[before] = [
            (label[len(before) : len(before) + length], math.log(weight / mass))
            for label, weight in begun.items()
        ]
    found = score(labels, after, follow=True)
    assert found.error is None
    assert found.raw == pytest.approx([math.log(weights[label] / total) for label in labels])


def test_a_label_without_a_token_has_no_score_and_is_named() -> None:
    found = score(["normal", "cyst"], {"": [(" normal", -0.1), ("the", -3.0)]}, follow=True)
    assert found.raw == ()
    assert found.error is not None
    assert "'cyst' is not among the 2 most likely tokens" in found.error


def test_a_label_that_is_missing_behind_a_likely_shared_beginning_has_no_score() -> None:
    tokens = {
        "": [("be", math.log(0.5)), ("bell", math.log(0.1)), ("no", math.log(0.3))],
        "be": [("nign", -0.1)],
    }
    found = score(["benign", "bell", "no"], tokens, follow=True)
    assert found.error is not None
    assert "'bell' is not among the 1 most likely tokens after 'be'" in found.error


def test_case_counts_and_spaces_of_every_kind_do_not() -> None:
    tokens = [
        ("\u2581A", math.log(0.2)),
        ("\u0120A", math.log(0.1)),
        ("\nB", math.log(0.3)),
        ("a", math.log(0.4)),
    ]
    assert score(["A", "B"], {"": tokens}, follow=False).raw == pytest.approx([math.log(0.3)] * 2)


@given(
    st.lists(
        st.lists(st.integers(0, 2), min_size=1, max_size=4).map(tuple), min_size=2, max_size=5, unique=True
    )
)
def test_tokens_are_cut_after_the_first_that_tells_labels_apart(whole: list[tuple[int, ...]]) -> None:
    names = [f"label {index}" for index in range(len(whole))]
    end = (9,)
    tree = label_tree("model", names, whole, [end] * len(whole))
    if any(a != b and b[: len(a)] == a for a in whole for b in whole):
        whole = [(*tokens, 9) for tokens in whole]
    for cut, tokens in zip(tree.labels, whole, strict=True):
        others = [other for other in whole if other != tokens]
        assert cut == tokens[: len(cut)]
        assert not any(other[: len(cut)] == cut for other in others)
        assert len(cut) == 1 or any(other[: len(cut) - 1] == cut[:-1] for other in others)
    known = {path: {token: -1.0 - token for token in tokens} for path, tokens in tree.steps.items()}
    assert tree.scores(known).raw == pytest.approx([sum(-1.0 - t for t in cut) for cut in tree.labels])


def test_the_way_behind_a_labels_first_tokens_writes_exactly_these() -> None:
    merged = {"ab": 5, " c": 6, "  c": 7, "abd": 9}  # "ab" is one token, so that (1, 2) is no text of its own
    letters = {"a": 1, "b": 2, "c": 3, "d": 4, " c": 8}

    async def tokens_of(text: str) -> tuple[int, ...]:
        if text == "c":  # where an answer begins, the template writes the space
            return (letters[" c"],)
        return (merged[text],) if text in merged else tuple(letters[x] for x in text)

    async def written(tokens: tuple[int, ...]) -> str:
        return "".join({v: k for k, v in letters.items()}[t] for t in tokens)

    def way(*path: int) -> tuple[str, tuple[int, ...]] | None:
        found = asyncio.run(forced_prefix(path, written, tokens_of))
        return None if found is None else (found.text, found.forced)

    assert way() == ("", ())
    assert way(1) == ("", (1,))
    assert way(3, 3) == ("", (3, 3))
    assert way(8, 1) == ("c", (1,))
    assert way(1, 2, 4) is None
    assert way(1, 2) == ("a", (2,))
    assert way(1, 2, 3) == ("abc", ())  # "ab" alone would be cut otherwise, "abc" is not
