"""Similarity measures against their definitions with Gram matrices and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.stats.similarity import linear_cka, neighbour_overlap


def layers(seed: int, images: int, first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    """Two layers that share some of what they hold."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((images, 3))
    made = [
        shared @ rng.standard_normal((3, width)) + rng.standard_normal((images, width)) + 4.0
        for width in (first, second)
    ]
    return made[0], made[1]


def gram_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Kornblith et al.: centred Gram matrices with H = I - 11'/n."""
    centring = np.eye(len(x)) - 1 / len(x)
    k, l = centring @ (x @ x.T) @ centring, centring @ (y @ y.T) @ centring  # noqa: E741
    return float(np.trace(k @ l) / np.sqrt(np.trace(k @ k) * np.trace(l @ l)))


def unbiased_hsic(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC as a U-statistic: the mean over ordered quadruples of different images, by Song et al."""
    k, l = x @ x.T, y @ y.T  # noqa: E741
    n, total, count = len(x), 0.0, 0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q])
                        count += 1
    return total / count


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 30), st.integers(1, 60), st.integers(1, 60))
def test_cka_is_that_of_the_centred_gram_matrices(seed: int, images: int, first: int, second: int) -> None:
    x, y = layers(seed, images, first, second)
    assert linear_cka(x, y) == pytest.approx(gram_cka(x, y), abs=1e-10)


@pytest.mark.parametrize("widths", [(2, 3), (9, 12)])
def test_debiased_cka_is_that_of_the_u_statistic(widths: tuple[int, int]) -> None:
    x, y = layers(1, 8, *widths)
    expected = unbiased_hsic(x, y) / np.sqrt(unbiased_hsic(x, x) * unbiased_hsic(y, y))
    assert linear_cka(x, y, debiased=True) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("debiased", [False, True])
def test_rotation_shift_and_scale_change_nothing(debiased: bool) -> None:
    x, y = layers(2, 40, 10, 6)
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((10, 10)))[0]
    before = linear_cka(x, y, debiased=debiased)
    assert linear_cka(7.0 * x @ rotation - 3.0, y, debiased=debiased) == pytest.approx(before, abs=1e-10)
    assert linear_cka(x, 2.0 * x @ rotation, debiased=debiased) == pytest.approx(1.0)
    assert 0 < before < 1


def test_only_the_debiased_form_is_zero_for_unrelated_wide_layers() -> None:
    rng = np.random.default_rng(4)
    pairs = [(rng.standard_normal((30, 300)), rng.standard_normal((30, 300))) for _ in range(30)]
    assert np.mean([linear_cka(x, y) for x, y in pairs]) > 0.8
    debiased = [linear_cka(x, y, debiased=True) for x, y in pairs]
    assert abs(np.mean(debiased)) < 4 * np.std(debiased) / np.sqrt(30)


def test_a_layer_that_never_changes_has_no_similarity() -> None:
    assert np.isnan(linear_cka(np.ones((10, 3)), layers(0, 10, 2, 2)[0]))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 25), st.integers(1, 4))
def test_overlap_is_that_of_a_plain_loop(seed: int, images: int, neighbours: int) -> None:
    x, y = layers(seed, images, 3, 5)
    shares = []
    for i in range(images):
        nearest = [
            set(
                sorted((j for j in range(images) if j != i), key=lambda j: np.linalg.norm(z[i] - z[j]))[
                    :neighbours
                ]
            )
            for z in (x, y)
        ]
        shares.append(len(nearest[0] & nearest[1]) / neighbours)
    assert neighbour_overlap(x, y, neighbours=neighbours) == pytest.approx(np.mean(shares))


def test_overlap_of_more_images_than_one_block() -> None:
    x = np.random.default_rng(5).standard_normal((1100, 4))
    assert neighbour_overlap(x, 3.0 * x + 1000.0) == 1.0
    unrelated = np.random.default_rng(6).standard_normal((1100, 4))
    assert neighbour_overlap(x, unrelated) == pytest.approx(10 / 1099, abs=0.003)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [(((5, 2), (4, 2)), "the same images"), (((3, 2), (3, 2)), "at least 4"), (((5,), (5,)), "same images")],
)
def test_layers_that_cannot_be_compared_are_refused(
    shapes: tuple[tuple[int, ...], tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        linear_cka(np.ones(shapes[0]), np.ones(shapes[1]), debiased=True)


def test_more_neighbours_than_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 6"):
        neighbour_overlap(*layers(0, 5, 2, 2), neighbours=5)
