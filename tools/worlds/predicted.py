"""Worlds of predictions alone: references of every quality, and few groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from probes.verdict.bottleneck import ISOTONIC
from probes.verdict.carried import carried_waterfall, judge_carried
from probes.verdict.diagnosis import diagnose
from probes.verdict.mapping import MappedAnswers
from probes.verdict.waterfall import LocusPredictions, waterfall

CLASSES = 3
ENCODER, LOSS = 0.8, 0.20
DRAWS = 2_000
_LOCI = 7  # R, v, c, h_img, h_ans, G3, G0


@dataclass(frozen=True)
class Reference:
    """A reference of this A beside an encoder of .8, with or without a loss in the connector."""

    images: int
    level: float
    loss: float

    @property
    def name(self) -> str:
        """The condition in words."""
        return f"{self.images} images, {'loses .20' if self.loss else 'loses nothing'}, R {self.level:.1f}"


@dataclass(frozen=True)
class Level:
    """This many groups of some images each; nothing lost, or much of it in the decoder.

    With a true loss behind them, the stages before have only each other to be compared with: the hardest case
    for lifted drops, which need every later level to be lower.
    """

    groups: int
    size: int
    unequal: bool = False
    loses: bool = False

    @property
    def name(self) -> str:
        """The condition in words."""
        kind = (
            "single images"
            if self.size == 1
            else f"{'about ' if self.unequal else ''}{self.size} images each"
        )
        return f"{self.groups} of {kind}{', decoder loses .50' if self.loses else ''}"


REFERENCES = tuple(
    Reference(images, level, loss)
    for images in (600, 1500)
    for loss in (LOSS, 0.0)
    for level in (0.8, 0.7, 0.6, 0.5, 0.4, 0.2)
)
LEVELS = tuple(
    Level(groups, size, unequal, loses)
    for loses in (False, True)
    for groups, size in ((6, 20), (8, 20), (15, 10), (40, 5), (150, 1), (600, 1))
    for unequal in (False, True)
    if size > 1 or not unequal
)


def reference_draw(condition: Reference, seed: int) -> dict[str, str]:
    """Judge one draw by today's rule and by the lifted levels."""
    rng = np.random.default_rng(
        [seed, condition.images, round(10 * condition.level), round(10 * condition.loss)]
    )
    behind = ENCODER - condition.loss
    levels = [condition.level, ENCODER, *[behind] * (_LOCI - 2)]
    drawn = draw_predictions(rng, np.ones(condition.images, int), levels)
    before = diagnose(waterfall(drawn, draws=DRAWS, seed=seed), reference="R", rule=ISOTONIC)
    after = judge_carried(carried_waterfall(drawn, draws=DRAWS, flips=DRAWS, seed=seed), reference="R")
    return {"before": before.verdict, "after": after.verdict}


def level_draw(condition: Level, seed: int) -> dict[str, Any]:
    """Say whether any stage is falsely significant, and which intervals of plain differences hold the truth.

    The truth of a difference is 0 between loci of one level, and LOSS beside "generated" text that is worse on
    purpose.
    """
    kind = [int(condition.unequal)] + [1] * condition.loses
    rng = np.random.default_rng([seed, condition.groups, condition.size, *kind])
    sizes = np.full(condition.groups, condition.size)
    if condition.unequal:
        sizes = 1 + rng.geometric(1 / condition.size, condition.groups)
    behind = ENCODER - 0.5 if condition.loses else ENCODER
    levels = [ENCODER] * 3 + [behind] * (_LOCI - 3)
    drawn = draw_predictions(rng, sizes, levels, worse=behind - LOSS)
    before = waterfall(drawn, draws=DRAWS, seed=seed)
    after = carried_waterfall(drawn, draws=DRAWS, flips=DRAWS, seed=seed).waterfall
    truths = {"erased": ENCODER - behind, "not_routed": 0.0, "not_used": 0.0, "parse_loss": LOSS}
    true = {"comprehension"} if condition.loses else set()
    return {
        "false_before": bool(set(before.stages) - true),
        "false": bool(set(after.stages) - true),
        "covered_before": [_covers(before.parts[name], truth) for name, truth in truths.items()],
        "covered": [_covers(after.parts[name], truth) for name, truth in truths.items()],
    }


def _covers(gap: Any, truth: float) -> bool:
    return bool(gap.low - 1e-9 <= truth <= gap.high + 1e-9)


def draw_predictions(
    rng: np.random.Generator, sizes: NDArray[np.int64], levels: list[float], *, worse: float | None = None
) -> LocusPredictions:
    """Draw predictions of the given A at R, v, c, h_img, h_ans, G3 and G0.

    Groups are of one class, hard together, and each locus is better with some groups than with others.
    """
    groups = np.repeat(np.arange(len(sizes)), sizes)
    alone = bool((sizes == 1).all())
    of_group = rng.permutation(np.arange(len(sizes)) % CLASSES)
    labels = of_group[groups]

    def shared() -> NDArray[np.float64]:
        own = rng.standard_normal(len(groups))
        return own if alone else np.sqrt(0.5) * rng.standard_normal(len(sizes))[groups] + np.sqrt(0.5) * own

    hardness = shared()

    def locus(level: float, with_others: float = 0.9) -> NDArray[np.int64]:
        balanced = 1 / CLASSES + level * (1 - 1 / CLASSES)
        own = with_others * hardness + np.sqrt(1 - with_others**2) * shared()
        other = (labels + rng.integers(1, CLASSES, size=len(labels))) % CLASSES
        return np.where(own < norm.ppf(balanced), labels, other)

    r, v, c, image_mean, last, g3, g0 = (
        locus(level, 0.6 if place == 0 else 0.9) for place, level in enumerate(levels)
    )
    return LocusPredictions(
        labels=labels,
        groups=groups,
        classes=CLASSES,
        reference=r,
        vision=v,
        connector=c,
        image_mean=image_mean,
        last_token=last,
        answers=MappedAnswers(plain=g0, without_prior=g0, relabelled=g0, logistic=g3),
        generated=None if worse is None else locus(worse),
    )
