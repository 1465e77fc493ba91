"""The test images on which a model is furthest from the right answer, and what it answered to each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.report.result import Result
from harness.report.view import class_name
from leaderboard.record.record import Record
from leaderboard.record.samples import Asked, SampleLine
from leaderboard.words import NAME, plain
from probes.stats.metrics import softmax

SHOWN = 12  # images
_TEXT = 400  # letters that are shown of a free text

OUTCOMES = {"correct": "right", "wrong": "wrong", "no_answer": "no answer", "error": "error"}


@dataclass(frozen=True)
class Way:
    """One further way in which an image was asked: the prompt, the options in their order, and the answer."""

    prompt: str
    options: tuple[str, ...]
    answer: str
    right: bool


@dataclass(frozen=True)
class Answered:
    """What was answered to one test image.

    `right` and `given` are the probabilities of the right class and of the answer, from 0 to 1, by the label
    scores; None where there are no scores, or no answer. `line` is where all this comes from.
    """

    line: SampleLine
    id: str
    true: str
    answer: str
    outcome: str
    right: float | None
    given: float | None
    text: str | None
    read: str | None
    text_outcome: str | None
    error: str | None
    ways: tuple[Way, ...]

    @property
    def other_answers(self) -> tuple[tuple[str, int], ...]:
        """What was answered to the further ways of asking, and how often; the commonest first."""
        return tuple(Counter(way.answer for way in self.ways).most_common())


@dataclass(frozen=True)
class Hardest:
    """The hardest images of a result, hardest first.

    `ranked` tells whether label scores ranked them; else they are those that were not answered right, in the order
    of the test set. `errors` counts the images that were left out because asking failed; `reason` says why there
    are no images, where there are none.
    """

    images: tuple[Answered, ...]
    ranked: bool
    errors: int
    reason: str | None


def hardest(result: Result, most: int = SHOWN) -> Hardest:
    """Return the test images on which the right class falls furthest behind the likeliest other one."""
    if result.test is None:
        return Hardest((), False, 0, result.reason)
    asked = [line for line in result.test if line.outcome != "error"]
    errors = len(result.test) - len(asked)
    ranked = bool(asked) and all(line.scores is not None and len(line.scores) > 1 for line in asked)
    chosen = sorted(asked, key=margin) if ranked else [line for line in asked if line.outcome != "correct"]
    reason = (
        None if chosen else "no image was answered" if not asked else "every test image was answered right"
    )
    return Hardest(tuple(answered(line, result.record) for line in chosen[:most]), ranked, errors, reason)


def margin(line: SampleLine) -> float:
    """Return the probability of the right class less that of the likeliest other one, from -1 to 1."""
    shares = probabilities(line)
    assert shares is not None, "a margin needs label scores"
    return shares[line.label] - max(share for k, share in enumerate(shares) if k != line.label)


def probabilities(line: SampleLine) -> tuple[float, ...] | None:
    """Return the softmax of the label scores, in the order of the classes; None without scores."""
    return None if line.scores is None else tuple(softmax(np.array([line.scores]))[0].tolist())


def answered(line: SampleLine, record: Record) -> Answered:
    """Return what was answered to a test image, every string made plain."""
    shares = probabilities(line)
    return Answered(
        line=line,
        id=plain(line.id, NAME),
        true=class_name(record, line.label),
        answer=_answer(line.predicted, record),
        outcome=OUTCOMES[line.outcome],
        right=None if shares is None else shares[line.label],
        given=None if shares is None or line.predicted is None else shares[line.predicted],
        text=None if line.text is None else plain(line.text, _TEXT),
        read=None if line.read is None else class_name(record, line.read),
        text_outcome=None if line.generated_outcome is None else OUTCOMES[line.generated_outcome],
        error=None if line.error is None else plain(line.error, _TEXT),
        ways=_ways(line.orders, line.label, record),
    )


def _ways(orders: Sequence[Asked], label: int, record: Record) -> tuple[Way, ...]:
    return tuple(
        Way(
            plain(asked.prompt, NAME),
            tuple(class_name(record, k) for k in asked.order),
            _answer(asked.predicted, record),
            asked.predicted == label,
        )
        for asked in orders
    )


def _answer(predicted: int | None, record: Record) -> str:
    return "no answer" if predicted is None else class_name(record, predicted)
