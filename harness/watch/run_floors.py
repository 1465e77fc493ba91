"""The floors of one run: those of its task, and those of its model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.console import Console
from harness.data.dataset import Dataset
from harness.passes.blank import ask_blank
from harness.passes.engines import inner_engine
from harness.passes.store import RunStore
from harness.passes.timing import Timing
from harness.plan.options import EvalOptions
from harness.watch.floors import Floor, Floors, load_floors
from harness.watch.probing import PREDICTED, SCORE_DECIMALS
from harness.watch.random_floor import load_random_vision
from leaderboard.record.samples import FLOOR, ProbeLine
from leaderboard.scoring.floors import DeclaredFloors
from model_adapters.interface import Engine
from tasks.sources import SplitName

_NOT_ASKED = "left out (--floors task)"


@dataclass(frozen=True)
class RunFloors:
    """The lines of the floors that a run files, and what these do not say."""

    lines: tuple[ProbeLine, ...]
    declared: DeclaredFloors


def run_floors(
    store: RunStore,
    engine: Engine,
    dataset: Dataset,
    options: EvalOptions,
    timing: Timing,
    console: Console,
) -> RunFloors:
    """Return the task's floors, and with `--floors all` what the model says to a blank picture and what
    its vision encoder is worth with random weights.
    """
    with timing.of("floors"):
        floors = load_floors(
            dataset,
            seed=options.seed,
            progress=console.step,
            reference=options.reference,
            offline=options.offline,
        )
    named = (floors.reference, floors.pixels, floors.majority)
    details: dict[str, str] = {floor.name: floor.detail for floor in named}
    p_values: dict[str, float | None] = {floor.name: floor.permutation_p for floor in named}
    lines = floor_lines(floors)
    if options.floors == "task":
        declared = DeclaredFloors(
            floors.key, details, p_values, blank_detail=_NOT_ASKED, random_vision_detail=_NOT_ASKED
        )
        return RunFloors(lines, declared)
    with timing.of("blank"):
        blank = ask_blank(store, engine, dataset)
    with timing.of("random_vision"):
        random_vision = load_random_vision(
            inner_engine(engine), dataset, seed=options.seed, progress=console.step
        )
    declared = DeclaredFloors(
        floors.key,
        details,
        p_values,
        blank=blank.scores,
        blank_detail=blank.detail,
        random_vision=random_vision.layers,
        random_vision_detail=random_vision.detail,
    )
    return RunFloors(lines, declared)


def floor_lines(floors: Floors) -> tuple[ProbeLine, ...]:
    """Return a line for each of the task's floors and split, validation then test."""
    named = (floors.reference, floors.pixels, floors.majority)
    return tuple(_line(floor, split) for floor in named for split in PREDICTED)


def _line(floor: Floor, split: SplitName) -> ProbeLine:
    # Rounded before the prediction is taken, so that predictions follow from the scores that are filed.
    rounded = np.round(floor.scores[split], SCORE_DECIMALS)
    return ProbeLine(
        site=floor.name,
        module="image",
        layer=0,
        pool="mean",
        width=0,
        consumed=False,
        readout=FLOOR,
        seed=floor.seed,
        split=split,
        predictions=tuple(rounded.argmax(axis=1).tolist()),
        scores=tuple(map(tuple, rounded.tolist())),
    )
