"""Any lifted waterfall: drops never gain, add up to the whole loss, and claim only what they may."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.verdict.carried import carried_waterfall, judge_carried
from probes.verdict.waterfall import DELTA, LEVEL
from tests.probes.planted import planted

ACCURACY = st.floats(0.05, 0.95)
LOCI = ("reference", "vision", "connector", "image_mean", "last_token", "logistic", "answers")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 9), st.lists(ACCURACY, min_size=7, max_size=7))
def test_any_waterfall_holds_together(seed, groups, accuracies):
    levels = dict(zip(LOCI, accuracies, strict=True))
    drawn = planted(np.random.default_rng(seed), 12 * groups, per_group=12, **levels)
    found = carried_waterfall(drawn, draws=50, flips=200, seed=seed)
    fall = found.waterfall
    path = [name for name in LOCI if name in fall.level]
    along = [fall.level[name] for name in path]
    assert along == sorted(along, reverse=True)
    assert all(fall.level[name] >= found.carried[name] for name in path)
    assert fall.level["answers"] == found.carried["answers"]
    assert np.isclose(sum(drop.gap.value for drop in fall.drops), along[0] - along[-1])
    for drop in fall.drops:
        assert 0 <= drop.gap.low <= drop.gap.value <= drop.gap.high
        assert drop.p_adjusted >= drop.gap.p
        assert drop.significant == (found.testable and drop.gap.value >= DELTA and drop.p_adjusted < LEVEL)
    assert found.testable == (groups >= 6)
    made = judge_carried(found, reference="R")
    assert made.verdict != "healthy" or (made.stages == () and made.vision_assessed)
    assert made.stages == fall.stages
    if found.reference_below is not None:
        assert "vision" not in (*made.stages, made.verdict)
