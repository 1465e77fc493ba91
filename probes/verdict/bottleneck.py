"""Rules that name the one stage where the class is lost, and how sure the draws are of it.

A probe measures what it can read, not all that is there, so neighbouring terms of the waterfall share
the reading errors of the locus between them. What a locus carries can only shrink along the way (the data
processing inequality), and each correction below is one way to impose that on the measured A's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from probes.stats.metrics import holm
from probes.verdict.waterfall import LEVEL, TERMS, Locus, Mode, Waterfall

Floats = NDArray[np.floating]
Correction = Literal["none", "best_later", "isotonic", "least_so_far"]
Gate = Literal["corrected", "plain", "total"]

_ROUNDING = 1e-12  # corrected levels that are equal may differ by this much
_PATH: tuple[Locus, ...] = ("reference", "vision", "connector", "last_token", "logistic", "answers")


@dataclass(frozen=True)
class Rule:
    """How the bottleneck is chosen.

    `correction` says how the A's are made to fall along the path before the terms are taken:
    "none" leaves them; "best_later" lifts each to the best at this or any later locus (what a later
    locus shows was there before); "least_so_far" lowers each to the least at this or any earlier locus
    (a locus that is merely easier to read gains nothing); "isotonic" is the least-squares fit between.

    In each draw the pick is the earliest term that reaches `share` of the largest and delta (the largest
    where none does): 1 is the largest drop, 0 the earliest one, because a fault drags its successors
    down with it. The bottleneck is named if at least `agreement` of the draws pick it and it passes the
    `gate`: "corrected" asks that its corrected term be significant, "plain" its plain term, "total" that
    the whole loss from first to last locus be significant and its own corrected term be above 0 (Holm),
    so that a loss spread over several stages is still traced to the one that began it. A model is called
    healthy if nothing passes the gate and in at least `healthy_agreement` of the draws no corrected term
    reaches delta.
    """

    name: str
    correction: Correction
    share: float
    agreement: float = 0.8
    healthy_agreement: float = 0.9
    gate: Gate = "corrected"

    def __post_init__(self) -> None:
        for field in ("share", "agreement", "healthy_agreement"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"rule {self.name}: {field} {getattr(self, field)}: expected 0 to 1")


LARGEST = Rule("largest", "none", share=1.0)
EARLIEST = Rule("earliest", "none", share=0.0)
MONOTONE = Rule("monotone", "best_later", share=1.0)
ISOTONIC = Rule("isotonic", "isotonic", share=0.7)
ISOTONIC_TOTAL = Rule("isotonic_total", "isotonic", share=0.7, gate="total")
RULES: tuple[Rule, ...] = (LARGEST, EARLIEST, MONOTONE, ISOTONIC, ISOTONIC_TOTAL)


@dataclass(frozen=True)
class Finding:
    """What a rule makes of a waterfall.

    `bottleneck` is None where nothing is significant or the draws disagree. `significant` are the modes
    that pass the rule's gate; `corrected` holds the terms and `agreement` the share of draws that pick
    each mode. `healthy` is the share of draws in which no corrected term reaches delta.
    """

    bottleneck: Mode | None
    significant: tuple[Mode, ...]
    corrected: Mapping[Mode, float]
    agreement: Mapping[Mode, float]
    healthy: float


def find_bottleneck(waterfall: Waterfall, rule: Rule) -> Finding:
    """Apply a rule to the point estimates and to every draw of a waterfall."""
    modes = tuple(drop.mode for drop in waterfall.drops)
    observed = _terms({name: np.asarray([a]) for name, a in waterfall.level.items()}, modes, rule)[0]
    terms = _terms(waterfall.draws, modes, rule)
    picks = _pick(terms, rule.share, waterfall.delta)
    agreement = np.bincount(picks, minlength=len(modes)) / len(picks)
    passed = _passed(waterfall, observed, terms, rule.gate)
    favourite = int(agreement.argmax())
    named = passed[favourite] and agreement[favourite] >= rule.agreement
    return Finding(
        bottleneck=modes[favourite] if named else None,
        significant=tuple(mode for mode, yes in zip(modes, passed, strict=True) if yes),
        corrected=dict(zip(modes, map(float, observed), strict=True)),
        agreement=dict(zip(modes, map(float, agreement), strict=True)),
        healthy=float((terms < waterfall.delta).all(axis=1).mean()),
    )


def _passed(waterfall: Waterfall, observed: Floats, terms: Floats, gate: Gate) -> NDArray[np.bool_]:
    """Return for each mode whether it may be named."""
    if gate == "plain":
        return np.array([drop.significant for drop in waterfall.drops])
    adjusted = holm((1 + (terms <= _ROUNDING).sum(axis=0)) / (1 + len(terms)))
    if gate == "corrected":
        return (observed >= waterfall.delta) & (adjusted < LEVEL)
    total = terms.sum(axis=1)
    lost = observed.sum() >= waterfall.delta and (1 + (total <= _ROUNDING).sum()) / (1 + len(total)) < LEVEL
    return np.asarray(lost & (adjusted < LEVEL))


def fall(levels: Floats, correction: Correction) -> Floats:
    """Make A's (..., loci) fall, or stay, along the last axis."""
    return _CORRECTIONS[correction](levels)


def _isotonic(levels: Floats) -> Floats:
    """The closest non-increasing sequence: min over starts of the max over ends of the means between."""
    loci = levels.shape[-1]
    sums = np.concatenate([np.zeros_like(levels[..., :1]), np.cumsum(levels, axis=-1)], axis=-1)

    def highest_mean(start: int, place: int) -> Floats:
        ends = range(place, loci)
        return np.max([(sums[..., b + 1] - sums[..., start]) / (b + 1 - start) for b in ends], axis=0)

    fitted = [np.min([highest_mean(a, i) for a in range(i + 1)], axis=0) for i in range(loci)]
    return np.stack(fitted, axis=-1)


_CORRECTIONS: dict[Correction, Callable[[Floats], Floats]] = {
    "none": lambda levels: levels,
    "best_later": lambda levels: np.maximum.accumulate(levels[..., ::-1], axis=-1)[..., ::-1],
    "least_so_far": lambda levels: np.minimum.accumulate(levels, axis=-1),
    "isotonic": _isotonic,
}


def _terms(levels: Mapping[Locus, Floats], modes: tuple[Mode, ...], rule: Rule) -> NDArray[np.float64]:
    """Return the corrected terms (draws, modes)."""
    path = tuple(name for name in _PATH if name in levels)
    measured = dict(levels)
    if rule.correction == "best_later" and "image_mean" in measured:
        # The image tokens inside the decoder come from the connector, not from the last token.
        measured["connector"] = np.maximum(measured["connector"], measured["image_mean"])
    fallen = fall(np.stack([measured[name] for name in path], axis=-1), rule.correction)
    at = {name: fallen[:, place] for place, name in enumerate(path)}
    return np.stack([at[first] - at[second] for first, second in (TERMS[m] for m in modes)], axis=1)


def _pick(terms: Floats, share: float, delta: float) -> NDArray[np.intp]:
    """Return each draw's earliest term that is large enough, as an index into the modes."""
    largest = terms.max(axis=1, keepdims=True)
    enough = (terms >= share * largest) & (terms >= np.minimum(delta, largest))
    return enough.argmax(axis=1)
