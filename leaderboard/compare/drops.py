"""Paired changes of the four drops between reference and answers, on the same resamples of the images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from leaderboard.compare.measured import Measured
from leaderboard.compare.parts import Change, Floats, LeftOut, Pair, paired_change
from leaderboard.record.samples import MAIN_READOUT
from leaderboard.scoring.diagnosis import gather
from probes.verdict.waterfall import MODES, TERMS, Mode, Waterfall, waterfall


def drop_changes(pair: Pair, *, seed: int = 0) -> tuple[tuple[Change, ...], tuple[LeftOut, ...]]:
    """Compare the drops of vision encoder, connector, comprehension and mapping.

    They are differences of chance-corrected accuracy (`probes.verdict.waterfall`) and a rise means that the
    candidate loses more there.

    Args:
        pair: the two runs.
        seed: of the bootstrap.

    Returns:
        The changes, and what could not be compared.
    """
    differ = pair.probes_differ
    falls = [None if differ else _waterfall(side, pair, seed) for side in pair.sides]
    lacking = [which for which, fall in zip(("baseline", "candidate"), falls, strict=True) if fall is None]
    if lacking:
        reason = differ or f"no label scores, or not every place probed, in the {' and '.join(lacking)}"
        return (), tuple(LeftOut(f"drop_{mode}", reason) for mode in MODES)
    baseline, candidate = (fall for fall in falls if fall is not None)
    no_reference = _no_reference(pair, baseline, candidate)
    modes = [mode for mode in MODES if mode != "vision" or no_reference is None]
    classes = len(pair.baseline.record.task.classes)
    changes = tuple(
        paired_change(
            f"drop_{mode}",
            "chance-corrected",
            "lower",
            (_value(baseline, mode), _value(candidate, mode)),
            (_draws(baseline, mode), _draws(candidate, mode)),
            baseline.groups,
            unseen=classes / (classes - 1),
        )
        for mode in modes
    )
    return changes, () if no_reference is None else (LeftOut("drop_vision", no_reference),)


def _waterfall(side: Measured, pair: Pair, seed: int) -> Waterfall | None:
    """Measure one run's drops with the baseline's groups, so that both runs have the same resamples."""
    if side.record.answers is not None and side.record.answers.headline_source != "scores":
        return None
    if not _probed_throughout(side):
        return None
    evidence = gather(side.samples, side.probes, len(side.record.task.classes))
    if evidence is None:
        return None
    predictions = replace(evidence.predictions, groups=np.array(pair.groups))
    if side.record.floors is None:
        predictions = replace(predictions, reference=None)
    return waterfall(predictions, seed=seed)


def _no_reference(pair: Pair, *falls: Waterfall) -> str | None:
    """Say why the drop from the reference cannot be compared; None where it can."""
    which = [
        name
        for name, fall in zip(("baseline", "candidate"), falls, strict=True)
        if "reference" not in fall.level
    ]
    if which:
        return f"no reference classifier in the {' and '.join(which)}"
    first, second = (side.record.floors.reference.detail for side in pair.sides if side.record.floors)
    return None if first == second else f"measured from different references: {first!r} and {second!r}"


def _probed_throughout(side: Measured) -> bool:
    """Whether every probe has predictions on test, and every vision layer's on validation too."""
    lines = [line for line in side.probes if line.readout == MAIN_READOUT]
    found = {split: {(x.site, x.pool) for x in lines if x.split == split} for split in ("val", "test")}
    vision = {(line.site, line.pool) for line in lines if line.module == "vision"}
    return vision <= found["val"] and vision | found["val"] <= found["test"]


def _value(fall: Waterfall, mode: Mode) -> float:
    return next(drop.gap.value for drop in fall.drops if drop.mode == mode)


def _draws(fall: Waterfall, mode: Mode) -> Floats:
    first, second = TERMS[mode]
    return fall.draws[first] - fall.draws[second]
