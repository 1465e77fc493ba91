from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.questions import (
    Question,
    label_question,
    letters_prompt,
    letters_questions,
    shuffled_letters_question,
    shuffled_order,
    variant_questions,
)
from tests.harness.small_tasks import make_task, numbered


def test_a_label_prompt_names_the_classes_in_the_order_of_the_task() -> None:
    task = make_task(("N", "normal"), ("B", "benign"), ("M", "malignant"))
    question = label_question(task, task.primary)
    assert question.text == "Is it normal, benign or malignant?"
    assert question.labels == ("normal", "benign", "malignant")
    assert question.order == (0, 1, 2)


def test_two_classes_are_joined_without_a_comma() -> None:
    task = make_task(("B", "benign"), ("M", "malignant"))
    assert label_question(task, task.primary).text == "Is it benign or malignant?"


def test_a_letters_prompt_shows_each_wording_behind_its_letter() -> None:
    task = make_task(("N", "normal"), ("B", "benign"))
    texts = [q.text for q in letters_questions(task, task.prompt("letters"), "image-1")]
    assert texts == [
        "Pick one:\nA) normal\nB) benign\nLetter only.",
        "Pick one:\nA) benign\nB) normal\nLetter only.",
    ]


@pytest.mark.parametrize("count", [2, 3])
def test_few_classes_are_asked_in_every_order(count: int) -> None:
    task = numbered(count)
    orders = [q.order for q in letters_questions(task, task.prompt("letters"), "image-1")]
    assert sorted(orders) == sorted(itertools.permutations(range(count)))


@given(count=st.integers(4, 26), seed=st.integers(0, 99), sample=st.text(max_size=12))
def test_many_classes_get_four_orders_and_no_letter_twice(count: int, seed: int, sample: str) -> None:
    task = numbered(count, seed=seed)
    questions = letters_questions(task, task.prompt("letters"), sample)
    assert len(questions) == 4
    for question in questions:
        assert sorted(question.order) == list(range(count))
        assert question.labels == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:count])
        for letter, index in zip(question.labels, question.order, strict=True):
            assert f"{letter}) finding {index:02d}\n" in question.text + "\n"
    for at_letter in zip(*(q.order for q in questions), strict=True):
        assert len(set(at_letter)) == 4


def test_orders_depend_on_the_image_and_the_seed_of_the_task() -> None:
    def orders(seed: int, sample: str) -> list[tuple[int, ...]]:
        task = numbered(9, seed=seed)
        return [q.order for q in letters_questions(task, task.prompt("letters"), sample)]

    assert orders(0, "a") == orders(0, "a")
    assert orders(0, "a") != orders(0, "b")
    assert orders(0, "a") != orders(1, "a")


def test_orders_are_the_same_in_every_process_and_version() -> None:
    pinned = (5, 0, 4, 8, 1, 6, 7, 2, 3)
    assert shuffled_order(9, "0:image-1") == pinned
    program = "from tasks.questions import shuffled_order; print(shuffled_order(9, '0:image-1'))"
    printed = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    ).stdout
    assert printed.strip() == str(pinned)


@given(st.permutations(range(6)), st.lists(st.floats(allow_nan=False), min_size=6, max_size=6, unique=True))
def test_values_are_put_back_in_the_order_of_the_classes(order: list[int], by_class: list[float]) -> None:
    question = Question("letters", "", tuple("ABCDEF"), tuple(order))
    as_shown = tuple(by_class[index] for index in order)
    assert question.by_class(as_shown) == tuple(by_class)


def test_too_few_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        Question("letters", "", ("A", "B"), (1, 0)).by_class((0.5,))


def test_every_question_beside_the_primary_one_is_asked_in_the_order_of_the_prompts() -> None:
    task = make_task(("N", "normal"), ("B", "benign"))
    asked = [(q.prompt_id, q.order) for q in variant_questions(task, "image-1")]
    assert asked == [
        ("paraphrase_1", (0, 1)),
        ("paraphrase_2", (0, 1)),
        ("letters", (0, 1)),
        ("letters", (1, 0)),
    ]


def test_over_the_images_the_right_letter_says_nothing_about_the_class() -> None:
    task = numbered(3)
    prompt = letters_prompt(task)
    assert prompt is not None
    orders = Counter(shuffled_letters_question(task, prompt, f"image-{i}").order for i in range(1200))
    assert set(orders) == set(itertools.permutations(range(3)))
    # Each of the 6 orders is expected 200 times with a standard deviation of 13.
    assert max(orders.values()) - min(orders.values()) < 100
