"""Ranks against SciPy and a plain loop, means over tasks by hand, and what noise alone does."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from leaderboard.board.ranking import TaskAnswers, joined_levels, task_ranks
from leaderboard.record.record import RecordError
from tests.leaderboard.lines import sample

CLASSES = 3


def answers(correct: np.ndarray, *, per_group: int = 1, seed: int = 0, task: str = "t") -> TaskAnswers:
    """Return what models answered that are right where told, (models, images)."""
    images = correct.shape[1]
    labels = np.random.default_rng(seed).integers(CLASSES, size=images)
    predicted = np.where(correct, labels, (labels + 1) % CLASSES)
    return TaskAnswers(task, CLASSES, tuple(str(i // per_group) for i in range(images)), labels, predicted)


def drawn(rng: np.random.Generator, accuracies: Sequence[float], images: int) -> np.ndarray:
    return rng.random((len(accuracies), images)) < np.array(accuracies)[:, None]


def plain_ranks(correct: np.ndarray) -> tuple[int, ...]:
    """1 + the models that are better by the exact test, Holm step by step."""
    pairs = list(combinations(range(len(correct)), 2))
    p_values = {}
    for one, other in pairs:
        only = int((correct[one] & ~correct[other]).sum())
        differ = int((correct[one] != correct[other]).sum())
        p_values[one, other] = binomtest(only, differ).pvalue if differ else 1.0
    ranks = [1] * len(correct)
    for step, pair in enumerate(sorted(pairs, key=p_values.__getitem__)):
        if p_values[pair] * (len(pairs) - step) >= 0.05:
            break
        worse = min(pair, key=lambda model: correct[model].sum())
        ranks[worse] += 1
    return tuple(ranks)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    images=st.integers(30, 150),
    accuracies=st.lists(st.floats(0.2, 0.98), min_size=1, max_size=6),
)
def test_ranks_of_single_images_are_those_of_a_plain_loop(
    seed: int, images: int, accuracies: list[float]
) -> None:
    correct = drawn(np.random.default_rng(seed), accuracies, images)
    assert task_ranks(answers(correct)) == plain_ranks(correct)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), per_group=st.sampled_from([1, 3]), order=st.permutations(range(5)))
def test_ranks_do_not_depend_on_the_order_of_models(seed: int, per_group: int, order: list[int]) -> None:
    correct = drawn(np.random.default_rng(seed), (0.9, 0.8, 0.7, 0.6, 0.5), 90)
    ranks = task_ranks(answers(correct, per_group=per_group))
    assert task_ranks(answers(correct[order], per_group=per_group)) == tuple(ranks[model] for model in order)


def test_equal_models_share_a_rank_and_clear_ones_do_not() -> None:
    rng = np.random.default_rng(0)
    best, middle, worst = drawn(rng, (0.97, 0.6, 0.2), 300)
    found = task_ranks(answers(np.stack([middle, best, middle, worst, best])))
    assert found == (3, 1, 3, 5, 1)


@pytest.mark.parametrize("per_group", [1, 2])
def test_under_no_difference_all_share_the_first_rank(per_group: int) -> None:
    """Holm keeps any false difference below 5% of boards; the bound allows for 200 draws of a board."""
    first = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        correct = drawn(rng, (0.7, 0.7, 0.7, 0.7), 60).repeat(per_group, axis=1)
        first += task_ranks(answers(correct, per_group=per_group)) == (1, 1, 1, 1)
    assert first / 200 >= 0.935


def test_groups_that_agree_count_once() -> None:
    """12 images told apart are significant; the same difference in one patient of 12 images is not."""
    better, worse = np.ones((2, 60), dtype=bool)
    worse[:12] = False
    correct = np.stack([better, worse])
    assert task_ranks(answers(correct)) == (1, 2)
    assert task_ranks(answers(correct, per_group=12)) == (1, 1)


def test_means_over_tasks_are_those_by_hand() -> None:
    first = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], dtype=bool)
    labels = np.array([0, 0, 1, 1, 2, 2])
    groups = tuple("abcdef")
    one = TaskAnswers("one", 3, groups, labels, np.where(first, labels, 0))
    two = TaskAnswers("two", 2, groups[:4], labels[:4], np.array([[0, 0, 1, 0], [0, 1, 0, 1]]))
    # A = (BA - 1/K) / (1 - 1/K): of the first model 2/3 -> 1/2 and 3/4 -> 1/2, of the second 1 and 1/2 -> 0.
    means, ranks = joined_levels([one, two])
    assert [mean.value for mean in means] == pytest.approx([0.5, 0.5])
    assert all(mean.low <= mean.value <= mean.high for mean in means)
    assert [mean.n for mean in means] == [10, 10]
    assert ranks == (1, 1)


def test_joined_ranks_tell_clear_models_apart() -> None:
    rng = np.random.default_rng(1)
    tasks = [answers(drawn(rng, (0.5, 0.95, 0.5), 200), seed=seed, task=str(seed)) for seed in (1, 2)]
    means, ranks = joined_levels(tasks)
    assert ranks[1] == 1
    assert ranks[0] == ranks[2] == 2
    wanted = np.mean([task.levels() for task in tasks], axis=0)
    assert [mean.value for mean in means] == pytest.approx(wanted.tolist())


def test_joined_intervals_cover_the_true_mean() -> None:
    """The true A of a model with accuracy q on balanced classes is (q - 1/K) / (1 - 1/K)."""
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        tasks = [answers(drawn(rng, (0.8,), 150), seed=seed + place) for place in (0, 1000)]
        ((mean,), _) = joined_levels(tasks)
        covered += mean.low <= (0.8 - 1 / 3) / (1 - 1 / 3) <= mean.high
    assert covered / 60 >= 0.87


def test_an_error_is_no_answer_even_where_a_class_is_named() -> None:
    lines = [
        sample("test", 0, 1, [-3.0, -0.1, -3.0], group="a"),
        sample("test", 1, 1, [-3.0, -0.1, -3.0], group="b", outcome="error"),
        sample("test", 2, 1, None, group="c", outcome="no_answer"),
    ]
    assert TaskAnswers.of("t", 3, [lines]).predicted.tolist() == [[1, -1, -1]]


def test_models_of_other_images_are_not_ranked_together() -> None:
    lines = [sample("test", 0, 1, [-3.0, -0.1, -3.0], group="a")]
    others = [lines[0].model_copy(update={"pixel_hash": "1"})]
    with pytest.raises(RecordError, match="not about the same test images"):
        TaskAnswers.of("t", 3, [lines, others])
