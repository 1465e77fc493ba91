"""Score the answer-target probe from its lines: how well the last token tells the right option's letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np

from leaderboard.record.checks import AnswerTargetPart
from leaderboard.record.parts import Interval
from leaderboard.record.samples import ANSWER_TARGET, NOT_ASKED, ProbeLine, SampleLine
from probes.stats.metrics import proportion_estimate
from tasks.sources import SplitName
from tasks.subset import select

# One more pass over so many images: enough for a probe of a few classes, little beside the other passes.
IMAGES: Mapping[SplitName, int] = MappingProxyType({"train": 1000, "val": 300, "test": 600})


class Labelled(Protocol):
    """An image of which id and class are known."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def label(self) -> int: ...  # noqa: D102


def asked_rows(split: SplitName, samples: Sequence[Labelled], seed: int) -> tuple[int, ...]:
    """Return the rows of a split's images that are asked: at most `IMAGES`, stratified by class.

    Args:
        split: its name.
        samples: its images, one at least.
        seed: the task's.
    """
    size = min(IMAGES[split], len(samples))
    return select([s.id for s in samples], [s.label for s in samples], size, seed)


def score_answer_target(
    lines: Iterable[ProbeLine], test: Sequence[SampleLine], prompt: str
) -> tuple[AnswerTargetPart, ...] | None:
    """Return the probe's accuracy at every decoder layer, or None where it was not asked.

    An image that the model could not be shown counts as not correct; one that was not asked does not count.

    Args:
        lines: the probes' lines; other readouts are passed over.
        test: the lines of the test images.
        prompt: id of the letters prompt that was asked.
    """
    found = sorted(
        (line for line in lines if (line.readout, line.split) == (ANSWER_TARGET, "test")),
        key=lambda line: line.layer,
    )
    return tuple(_part(line, test, prompt) for line in found) or None


def _part(line: ProbeLine, test: Sequence[SampleLine], prompt: str) -> AnswerTargetPart:
    targets = np.array(line.targets or (), dtype=int)
    asked = np.flatnonzero(targets != NOT_ASKED)
    correct = np.array(line.predictions)[asked] == targets[asked]
    measured = proportion_estimate(correct.astype(float), [test[row].group for row in asked.tolist()])
    commonest = max(Counter(targets[asked].tolist()).values())
    return AnswerTargetPart(
        site=line.site,
        layer=line.layer,
        prompt=prompt,
        accuracy=Interval.of(measured),
        majority=commonest / len(asked),
    )
