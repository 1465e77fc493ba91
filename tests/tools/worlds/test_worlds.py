"""The simulated worlds are what they say, and the command goes on where it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from tools.worlds.geometry import (
    CEILING,
    CLASS_AT,
    LOSS,
    SHIFT,
    TOKENS,
    WIDE,
    WIDTH,
    draw_evidence,
    draw_splits,
    spectrum,
)
from tools.worlds.judging import pack, unpack
from tools.worlds.predicted import draw_predictions

ROOT = Path(__file__).parents[3]


def test_the_class_is_read_at_the_ceiling_and_at_the_loss_below_it():
    labels, evidence = draw_evidence(20_000, [0])
    for shift, level in ((SHIFT, CEILING), ((SHIFT[0], 0.0), CEILING - LOSS)):
        right = (evidence @ np.array(shift) > 0) == labels
        assert 2 * right.mean() - 1 == pytest.approx(level, abs=0.02)
    assert 2 * norm.cdf(np.linalg.norm(SHIFT)) - 1 == pytest.approx(CEILING)


def test_a_connector_keeps_every_product_of_two_tokens_or_loses_one_direction():
    sizes = {"train": 20}
    whole, lossy = (draw_splits("rotation", lost, sizes, 3)["train"] for lost in (False, True))
    assert whole.later.shape == (20, WIDE)
    assert whole.vision.shape == (20, WIDTH)
    assert whole.later_tokens.shape == (20 * 8, WIDE)
    np.testing.assert_array_equal(whole.vision_tokens, lossy.vision_tokens)
    products = whole.vision_tokens @ whole.vision_tokens.T
    np.testing.assert_allclose(whole.later_tokens @ whole.later_tokens.T, products, atol=1e-3)
    missing = np.linalg.eigvalsh(products - lossy.later_tokens @ lossy.later_tokens.T)
    assert missing[-1] > 0.05
    np.testing.assert_allclose(missing[:-1], 0, atol=1e-3)


def test_nuisance_adds_as_much_variance_as_it_says():
    plain, beside = (
        draw_splits(name, False, {"train": 300}, 4)["train"] for name in ("rotation", "nuisance .3")
    )
    sizes = [np.square(world.later_tokens).sum() for world in (plain, beside)]
    assert sizes[1] / sizes[0] == pytest.approx(1.3, abs=0.03)


def test_the_mean_of_a_world_with_sums_of_tokens_has_the_variance_of_the_mean():
    test = draw_splits("rotation", False, {"train": 2, "test": 500}, 1)["test"]
    variance = test.vision.var(axis=0).sum()
    shifts = (np.square(SHIFT) * spectrum(WIDTH)[list(CLASS_AT)] ** 2).sum()
    expected = (spectrum(WIDTH) ** 2).sum() * (1 + 2 / TOKENS) + shifts
    assert variance == pytest.approx(expected, rel=0.04)
    np.testing.assert_allclose(np.square(test.later).sum(1), np.square(test.vision).sum(1), rtol=1e-3)


def test_packed_predictions_come_back():
    rows = np.random.default_rng(0).integers(0, 2, (3, 20))
    np.testing.assert_array_equal(unpack(pack(rows)), rows)


def test_drawn_predictions_have_their_levels():
    drawn = draw_predictions(
        np.random.default_rng(0), np.ones(30_000, int), [0.8, 0.8, 0.6, 0.6, 0.5, 0.4, 0.2]
    )
    made = drawn.by_locus()
    for name, level in (("vision", 0.8), ("connector", 0.6), ("answers", 0.2)):
        right = np.mean(made[name] == drawn.labels)
        assert (right - 1 / 3) / (2 / 3) == pytest.approx(level, abs=0.02)


def test_the_command_keeps_what_is_done_and_goes_on(tmp_path):
    output = tmp_path / "worlds.jsonl"

    def run(draws):
        command = [sys.executable, str(ROOT / "tools/worlds/run.py"), "--worlds", "level"]
        done = subprocess.run(
            [*command, "--draws", str(draws), "--output", str(output)],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert "| 6 of 20 images each | 1 |" in run(1)
    first = output.read_text()
    output.write_text(first + '{"level/6 of 20 im')  # killed while it wrote
    again = run(2)
    assert "| 6 of 20 images each | 2 |" in again
    assert output.read_text().startswith(first)
    rows = [line for line in output.read_text().splitlines() if line.endswith("}}")]
    assert len(rows) == 40
    assert all(json.loads(row) for row in rows)
