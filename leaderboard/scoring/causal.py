"""Score the causal check from the answers that were given to changed hidden states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leaderboard.record.checks import CausalLocusPart, ErasurePart, PatchingPart
from leaderboard.record.parts import Interval
from probes.causal.effect import erasure_effect, patching_effect
from probes.sites import Site


def score_locus(
    site: Site,
    answers: Sequence[Mapping[str, Any]],
    labels: NDArray[np.integer],
    groups: Sequence[str],
    *,
    seed: int = 0,
) -> CausalLocusPart | None:
    """Score one place; None where no image was answered in every way.

    Args:
        site: the place.
        answers: per image "plain" and, under the place's key in "loci", "rank", "erased" (the class erased,
            then each random erasure), "across" and "within" (the donor of another class, of the own), each a
            list of label scores in the order of the classes, or null; and "donor_class" where there are donors.
        labels: (images,) right classes.
        groups: (images,) the images' groups.
        seed: of the bootstrap.
    """
    at = [answer["loci"][site.key] for answer in answers]
    kept = [row for row, answer in enumerate(answers) if answer["plain"] and None not in at[row]["erased"]]
    if not kept:
        return None
    scores = np.array([at[row]["erased"] for row in kept]).transpose(1, 0, 2)  # erasures x images x classes
    effect = erasure_effect(
        np.array([answers[row]["plain"] for row in kept]),
        scores[0],
        scores[1:],
        labels[kept],
        [groups[row] for row in kept],
        seed=seed,
    )
    return CausalLocusPart(
        site=site.name,
        module=site.module,
        layer=site.layer,
        pool=site.pool,
        erasure=ErasurePart(
            rank=at[0]["rank"],
            margin_drop=Interval.of(effect.drop),
            null=effect.null,
            p=effect.p,
            accuracy_drop=effect.accuracy_drop,
            null_accuracy_drop=effect.null_accuracy_drop,
        ),
        patching=_patching(at, answers, labels, groups, seed),
    )


def _patching(
    at: Sequence[Mapping[str, Any]],
    answers: Sequence[Mapping[str, Any]],
    labels: NDArray[np.integer],
    groups: Sequence[str],
    seed: int,
) -> PatchingPart | None:
    kept = [
        row
        for row, answer in enumerate(answers)
        if answer["plain"] and at[row]["across"] and at[row]["within"]
    ]
    if not kept:
        return None
    effect = patching_effect(
        np.array([answers[row]["plain"] for row in kept]),
        np.array([at[row]["across"] for row in kept]),
        np.array([at[row]["within"] for row in kept]),
        labels[kept],
        np.array([answers[row]["donor_class"] for row in kept]),
        [groups[row] for row in kept],
        seed=seed,
    )
    return PatchingPart(
        shift=Interval.of(effect.shift),
        null=Interval.of(effect.null),
        p=effect.p,
        taken_over=effect.taken_over,
        null_taken_over=effect.null_taken_over,
    )
