"""Paired changes of the Feature Health Scores.

A score's interval in a record has two parts (`probes.verdict.health`): what noise may have done to the score of the
measured curve, whatever the true one is, and the spread of the score over resamples. Of a change the first
parts of both runs add up, since nothing says that noise did the same to both; the spread is that of the
difference on the same resamples. So a change is significant only where noise in neither curve can explain it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from leaderboard.compare.contrasts import BOOTSTRAP, DRAWS
from leaderboard.compare.parts import Change, Floats, LeftOut, Pair
from leaderboard.scoring.answers import DRAWS as SCORE_DRAWS
from leaderboard.scoring.health import module_curve
from leaderboard.scoring.probes import by_site
from probes.sites import Module, Pool
from probes.stats.bootstrap import ClusterBootstrap
from probes.verdict.health import ModuleHealth, feature_health_score, health

PLACES: tuple[tuple[Module, Pool], ...] = (("vision", "mean"), ("connector", "mean"), ("llm", "last"))

_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class _Scored:
    """A module's score in one run: what noise may explain of it, and its draws (draws,)."""

    measured: ModuleHealth
    noise: tuple[float, float]
    draws: Floats = field(repr=False)


def health_changes(
    pair: Pair, readout: str, *, seed: int = 0
) -> tuple[tuple[Change, ...], tuple[LeftOut, ...]]:
    """Compare the Feature Health Scores of vision encoder, connector and language model.

    Args:
        pair: the two runs.
        readout: whose probes are compared.
        seed: of the bootstrap.

    Returns:
        The changes, and what could not be compared.
    """
    differ = pair.probes_differ
    changes, left_out = [], []
    for module, pool in PLACES:
        name = f"fhs_{module}"
        curves = [
            module_curve(by_site(side.probes), readout, module, pool, pair.labels.tolist())
            for side in pair.sides
        ]
        lacking = [
            which for which, curve in zip(("baseline", "candidate"), curves, strict=True) if curve is None
        ]
        if lacking:
            which = " and ".join(lacking)
            left_out.append(LeftOut(name, f"no {readout} probes of the {module} in the {which}"))
        elif differ:
            left_out.append(LeftOut(name, differ))
        else:
            scored = [_scored(curve, pair.groups, seed) for curve in curves if curve is not None]
            changes.append(_change(name, scored[0], scored[1], len(set(pair.groups))))
    return tuple(changes), tuple(left_out)


def _scored(outcomes: NDArray[np.float64], groups: Sequence[str], seed: int) -> _Scored:
    floor = 1 / (2 * outcomes.shape[1])

    def scores(draws: int) -> Floats:
        drawn = ClusterBootstrap.of(groups, draws=draws, seed=seed).means(outcomes)
        return feature_health_score(drawn, floor=floor)

    measured = health(outcomes, groups, draws=SCORE_DRAWS, seed=seed)
    own = _spread(scores(SCORE_DRAWS))  # the same draws as within the record's interval
    noise = (min(measured.low + own, measured.fhs), max(measured.high - own, measured.fhs))
    return _Scored(measured, noise, scores(DRAWS))


def _spread(draws: Floats) -> float:
    """Return the longer side of the draws' 95% interval around their median."""
    return float(np.abs(np.quantile(draws, (0.025, 0.975)) - np.median(draws)).max())


def _change(name: str, baseline: _Scored, candidate: _Scored, groups: int) -> Change:
    value = candidate.measured.fhs - baseline.measured.fhs
    noise_low = candidate.noise[0] - baseline.noise[1]
    noise_high = candidate.noise[1] - baseline.noise[0]
    gaps = candidate.draws - baseline.draws
    # Where no image tells the runs apart: the rule of three, as in `leaderboard.compare.contrasts`.
    spread = _spread(gaps) if np.ptp(gaps) > _ROUNDING else 3 / groups
    p = _p(gaps - np.median(gaps), max(noise_low, -noise_high), groups)
    return Change(
        name=name,
        unit="score",
        better="higher",
        baseline=baseline.measured.fhs,
        candidate=candidate.measured.fhs,
        value=value,
        low=noise_low - spread,
        high=noise_high + spread,
        p=p,
        p_adjusted=p,
        test=f"{BOOTSTRAP}, less what noise may explain",
        noise_limited=baseline.measured.noise_limited or candidate.measured.noise_limited,
    )


def _p(deviations: Floats, beyond: float, groups: int) -> float:
    """Return the two-sided p of a change that lies `beyond` what noise may explain; 1 where it does not.

    The longer side of the deviations serves for both, as in the interval.
    """
    if beyond <= 0:
        return 1.0
    further = max(int((deviations >= beyond).sum()), int((deviations <= -beyond).sum()))
    return min(1.0, max(2 * (1 + further) / (1 + len(deviations)), 2.0 ** (1 - groups)))
