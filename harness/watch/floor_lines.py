"""The floors of one run: those of its task, and those of its model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PIL import Image

from harness.passes.answers import scored_line
from harness.passes.asking import Pass, ask
from harness.passes.context import Run
from harness.passes.engines import inner_engine
from harness.watch.fitting import PREDICTED, filed_scores
from harness.watch.floors import Floor, Floors, load_floors
from harness.watch.random_floor import load_random_vision
from leaderboard.record.samples import FLOOR, ProbeLine
from leaderboard.scoring.floors import DeclaredFloors
from tasks.questions import label_question
from tasks.sources import SplitName

BLANK = "blank"  # the step in the run store
GREY = 127

_NOT_ASKED = "left out (--floors task)"


@dataclass(frozen=True)
class BlankAnswer:
    """The label scores of a grey picture in the order of the classes; None where there are none.

    `detail` says what was shown, or why there are no scores.
    """

    scores: tuple[float, ...] | None
    detail: str


def find_floors(run: Run) -> tuple[tuple[ProbeLine, ...], DeclaredFloors]:
    """Return the lines of the floors that a run files, and what these do not say.

    The task's floors, and with `--floors all` what the model says to a blank picture and what its vision
    encoder is worth with random weights.
    """
    options, progress = run.options, run.console.step
    with run.timing.of("floors"):
        floors = load_floors(
            run.dataset,
            seed=options.seed,
            progress=progress,
            reference=options.reference,
            offline=options.offline,
        )
    declared = DeclaredFloors(
        floors.key,
        details={floor.name: floor.detail for floor in floors.named},
        permutation_p={floor.name: floor.permutation_p for floor in floors.named},
        blank_detail=_NOT_ASKED,
        random_vision_detail=_NOT_ASKED,
    )
    if options.floors == "all":
        with run.timing.of("blank"):
            blank = ask_blank(run)
        with run.timing.of("random_vision"):
            random = load_random_vision(
                inner_engine(run.engine), run.dataset, seed=options.seed, progress=progress
            )
        declared = replace(
            declared,
            blank=blank.scores,
            blank_detail=blank.detail,
            random_vision=random.layers,
            random_vision_detail=random.detail,
        )
    return floor_lines(floors), declared


def ask_blank(run: Run) -> BlankAnswer:
    """Ask the primary prompt about a grey picture of the first test image's size, once a run.

    Every image would get that one answer, so its accuracy is the share of the class that the model names
    when it sees nothing, and its balanced accuracy is chance: what is of interest is which class, and how
    sure.
    """
    task, first = run.dataset.task, run.dataset.split("test")[0]
    size = run.dataset.read(first).size
    grey = replace(run.dataset, read=lambda _: Image.new("RGB", size, (GREY, GREY, GREY)))
    blank = Pass(
        step=BLANK,
        images=(replace(first, id="blank"),),
        questions=lambda _: (label_question(task, task.primary),),
        line=scored_line,
    )
    (answer,) = ask(replace(run, dataset=grey), blank)
    if answer["error"] is not None:
        return BlankAnswer(None, f"the model gave no answer to a grey picture ({answer['error']})")
    return BlankAnswer(tuple(answer["scores"]), f"a grey picture of {size[0]} x {size[1]} pixels")


def floor_lines(floors: Floors) -> tuple[ProbeLine, ...]:
    """Return a line for each of the task's floors and split, validation then test."""
    return tuple(_line(floor, split) for floor in floors.named for split in PREDICTED)


def _line(floor: Floor, split: SplitName) -> ProbeLine:
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
        **filed_scores(floor.scores[split]),
    )
