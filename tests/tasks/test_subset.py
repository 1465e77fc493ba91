"""A subset is stratified, of the asked size, and the same whatever the order of the images."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.subset import allocate, select


@st.composite
def splits(draw: st.DrawFn) -> tuple[list[str], list[int], int, int]:
    labels = draw(st.lists(st.integers(0, 4), min_size=1, max_size=80))
    ids = [f"test/{index:06d}" for index in range(len(labels))]
    return ids, labels, draw(st.integers(1, len(labels))), draw(st.integers(0, 10))


@settings(deadline=None)
@given(splits())
def test_size_is_exact_and_every_class_within_one_image_of_its_share(
    split: tuple[list[str], list[int], int, int],
) -> None:
    ids, labels, size, seed = split
    chosen = select(ids, labels, size, seed)
    assert len(set(chosen)) == size
    assert list(chosen) == sorted(chosen)
    taken = Counter(labels[index] for index in chosen)
    for label, count in Counter(labels).items():
        assert abs(taken[label] - size * count / len(labels)) < 1
        assert taken[label] <= count


@settings(deadline=None)
@given(splits(), st.randoms(use_true_random=False))
def test_order_of_the_images_does_not_matter(
    split: tuple[list[str], list[int], int, int], shuffler: random.Random
) -> None:
    ids, labels, size, seed = split
    order = list(range(len(ids)))
    shuffler.shuffle(order)
    shuffled = select([ids[i] for i in order], [labels[i] for i in order], size, seed)
    assert {ids[order[i]] for i in shuffled} == {ids[i] for i in select(ids, labels, size, seed)}


def test_the_choice_never_changes() -> None:
    """The three smallest SHA-256 of "seed:id", worked out apart; a change alters published subsets."""
    ids = [f"test/{index:06d}" for index in range(10)]
    assert select(ids, [0] * 10, 3, seed=0) == (1, 6, 9)
    assert select(ids, [0] * 10, 3, seed=1) == (4, 8, 9)


def test_shares_follow_the_largest_remainder() -> None:
    assert allocate({0: 47000, 1: 16000, 2: 15900, 3: 12000, 4: 6000, 5: 3100}, 10) == {
        0: 5,
        1: 2,
        2: 1,
        3: 1,
        4: 1,
        5: 0,
    }
    assert allocate({0: 1, 1: 1, 2: 1}, 2) == {0: 1, 1: 1, 2: 0}


@pytest.mark.parametrize(
    ("ids", "labels", "size", "message"),
    [
        (["a", "a"], [0, 1], 1, "an id occurs twice"),
        (["a", "b"], [0], 1, "2 ids for 1 labels"),
        (["a", "b"], [0, 1], 3, "3 images wanted of 2"),
        (["a", "b"], [0, 1], 0, "0 images wanted of 2"),
    ],
)
def test_bad_arguments(ids: list[str], labels: list[int], size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select(ids, labels, size, seed=0)
