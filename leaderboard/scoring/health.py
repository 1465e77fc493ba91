"""The four-part health profile of a record, computed from its probe lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leaderboard.record.record import HealthPart, HealthProfile, ModuleHealthPart
from leaderboard.record.samples import MAIN_READOUT, ProbeLine, SampleLine
from leaderboard.scoring.probes import SiteKey, by_site, mean_correct
from probes.sites import Module, Pool
from probes.verdict.health import health


def score_health(
    lines: Iterable[ProbeLine], test: Sequence[SampleLine], *, final: float, seed: int = 0
) -> HealthPart | None:
    """Return the Feature Health Scores of every readout, or None without probes.

    Vision runs from the first block to the layer that the connector reads; the connector is one site;
    the language model is the last prompt token after each block, the image-token mean beside it.

    Args:
        lines: the probes' lines.
        test: the lines of the test images, in the order of the predictions.
        final: the headline accuracy, the profile's fourth part.
        seed: of the bootstrap behind the intervals.
    """
    found = by_site(lines)
    readouts = tuple(dict.fromkeys(readout for readout, _, _ in found))
    if not readouts:
        return None
    profiles = {readout: _profile(found, readout, test, final, seed) for readout in readouts}
    main = MAIN_READOUT if MAIN_READOUT in profiles else readouts[0]
    return HealthPart(**dict(profiles[main]), readout=main, by_readout=profiles)


def _profile(
    found: Mapping[SiteKey, Sequence[ProbeLine]],
    readout: str,
    test: Sequence[SampleLine],
    final: float,
    seed: int,
) -> HealthProfile:
    def part(module: Module, pool: Pool) -> ModuleHealthPart:
        return _module(found, readout, module, pool, test, seed)

    vision, connector, llm = part("vision", "mean"), part("connector", "mean"), part("llm", "last")
    return HealthProfile(
        vision=vision,
        connector=connector,
        llm=llm,
        llm_mean=part("llm", "mean"),
        final=final,
        profile=(vision.fhs, connector.fhs, llm.fhs, final),
    )


def _module(
    found: Mapping[SiteKey, Sequence[ProbeLine]],
    readout: str,
    module: Module,
    pool: Pool,
    test: Sequence[SampleLine],
    seed: int,
) -> ModuleHealthPart:
    correct = module_curve(found, readout, module, pool, [line.label for line in test])
    if correct is None:
        raise ValueError(f"no {readout} probe of {module}.{pool}")
    measured = health(correct, [line.group for line in test], seed=seed)
    return ModuleHealthPart(**vars(measured), pool=pool)


def module_curve(
    found: Mapping[SiteKey, Sequence[ProbeLine]],
    readout: str,
    module: Module,
    pool: Pool,
    labels: Sequence[int],
) -> NDArray[np.float64] | None:
    """Return how right each layer's probe is on each test image, shape (layers, images); None without a layer.

    Of vision the layers up to the one that is read, since later ones feed nothing.

    Args:
        found: the probes' lines by site, see `leaderboard.scoring.probes.by_site`.
        readout: of the probes.
        module: whose layers.
        pool: how their tokens were pooled.
        labels: the test images' classes.
    """
    curve = sorted(
        (
            same
            for key, same in found.items()
            if key[0] == readout and (same[0].module, same[0].pool) == (module, pool)
        ),
        key=lambda same: same[0].layer,
    )
    read = [same[0].layer for same in curve if same[0].consumed]
    used = [same for same in curve if not read or same[0].layer <= read[0]]
    return np.stack([mean_correct(same, np.array(labels)) for same in used]) if used else None
