"""Equality within a margin is concluded at its stated error, and never from too few images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from probes.stats.equivalence import equivalent

RNG = np.random.default_rng(0)


def draws(value: float, spread: float, count: int = 4000) -> np.ndarray:
    return value + spread * norm.ppf((np.arange(count) + 0.5) / count)


@pytest.mark.parametrize(
    ("value", "spread", "expected"),
    [
        (0.0, 0.01, True),  # 0 + 1.64 x 0.01 < 0.03
        (0.0, 0.02, None),  # 1.64 x 0.02 = 0.033
        (0.02, 0.01, None),
        (-0.01, 0.01, True),
        (0.10, 0.01, False),
        (-0.10, 0.01, False),
        (0.05, 0.02, None),
    ],
)
def test_two_one_sided_tests_with_known_spread(value: float, spread: float, expected: bool | None) -> None:
    assert equivalent(draws(value, spread), value, 1e-6) is expected


def test_no_discordant_image_among_few_proves_nothing() -> None:
    same = np.zeros(1000)
    assert equivalent(same, 0.0, 1 / 99) is None  # 3 of 99 may differ unseen
    assert equivalent(same, 0.0, 1 / 101) is True
    assert equivalent(same, 0.0, 1.25 / 101) is None  # five classes: A moves by a quarter more


@pytest.mark.parametrize("sign", [1, -1])
def test_a_difference_at_the_margin_is_called_equal_no_more_often_than_stated(sign: int) -> None:
    rng, called = np.random.default_rng(1), []
    images, discordant = 2000, 0.10
    for _ in range(1500):
        values = rng.choice(
            [1, 0, -1],
            size=images,
            p=[(discordant + sign * 0.03) / 2, 1 - discordant, (discordant - sign * 0.03) / 2],
        )
        mean, spread = values.mean(), values.std() / np.sqrt(images)
        called.append(equivalent(draws(mean, spread, 400), mean, 1 / images) is True)
    assert np.mean(called) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1500)


def test_equal_layers_are_found_equal_with_enough_images() -> None:
    rng, called = np.random.default_rng(2), []
    for _ in range(300):
        values = rng.choice([1, 0, -1], size=2000, p=[0.025, 0.95, 0.025])
        mean = values.mean()
        called.append(equivalent(draws(mean, values.std() / np.sqrt(2000), 400), mean, 1 / 2000) is True)
    assert np.mean(called) > 0.95


@pytest.mark.parametrize(("margin", "unit", "count"), [(0.0, 0.1, 5), (0.03, 0.0, 5), (0.03, 0.1, 0)])
def test_what_makes_no_sense_is_refused(margin: float, unit: float, count: int) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        equivalent(np.zeros(count), 0.0, unit, margin=margin)
