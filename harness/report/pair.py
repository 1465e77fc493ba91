"""Two results on the same test images: what differs, and by how much, image by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.report.hardest import Answered, answered, probabilities
from harness.report.result import Result
from leaderboard.compare.contrasts import MCNEMAR, Contrast, Paired, answer_contrast, paired_difference
from leaderboard.record.record import Record, RecordError
from leaderboard.record.samples import SampleLine
from leaderboard.words import TEXT, interval, number, p_value, percent, plain, points

SHOWN = 6  # images that only one of the two got right, for each of the two
FAMILY = "report"


@dataclass(frozen=True)
class ValueRow:
    """One line of the summary: two values as text, and their difference with its test where there is one."""

    key: str
    name: str
    first: str
    second: str
    difference: str = ""
    p: str = ""


@dataclass(frozen=True)
class Disagreement:
    """A test image that only one of the two got right, and what each answered."""

    id: str
    true: str
    first: Answered
    second: Answered


@dataclass(frozen=True)
class Counts:
    """Test images by which of the two answered them right."""

    both: int
    first: int
    second: int
    neither: int


@dataclass(frozen=True)
class Comparison:
    """The summary of two results.

    `reason` says why no difference was computed, None where one was; `contrast`, `counts` and the images are None
    or empty then. `only_first` are images that only the first got right, those it was surest of first.
    """

    rows: tuple[ValueRow, ...]
    reason: str | None
    contrast: Contrast | None
    counts: Counts | None
    only_first: tuple[Disagreement, ...]
    only_second: tuple[Disagreement, ...]

    @property
    def sentence(self) -> str:
        """What the paired difference says, in words."""
        if self.contrast is None:
            return ""
        found = self.contrast
        interval_said = f"95% interval {points(100 * found.low)} to {points(100 * found.high)}"
        size = f"{points(100 * found.value)} points ({interval_said}; {found.test}, p {p_value(found.p)})"
        said = {
            "higher": "The first is right more often.",
            "lower": "The second is right more often.",
            "undetermined": f"These {found.n} test images do not tell the two apart.",
        }
        return f"{said[found.conclusion]} First less second in accuracy: {size}."


def compare(first: Result, second: Result) -> Comparison:
    """Compare two results; where they are not of one task and the same test images, say why not."""
    one, other = first.measured, second.measured
    if one is None or other is None:
        reason = next(f"{r.name}: {r.reason}" for r in (first, second) if r.test is None)
        return _apart(first, second, reason)
    try:
        contrast = answer_contrast(FAMILY, one, other)
    except RecordError as error:
        return _apart(first, second, plain(str(error), TEXT))
    pairs = list(zip(one.test, other.test, strict=True))
    right = [(a.outcome == "correct", b.outcome == "correct") for a, b in pairs]
    rows = (_contrast_row(contrast), *_text_rows(pairs), *_rows(first.record, second.record))
    return Comparison(
        rows,
        None,
        contrast,
        Counts(*(right.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False)))),
        _disagreements(pairs, first.record, second.record, first_right=True),
        _disagreements(pairs, first.record, second.record, first_right=False),
    )


def _apart(first: Result, second: Result, reason: str) -> Comparison:
    accuracies = [r.answers.accuracy if r.answers else None for r in (first.record, second.record)]
    accuracy = ValueRow("accuracy", "Accuracy", *map(interval, accuracies))
    return Comparison((accuracy, *_rows(first.record, second.record)), reason, None, None, (), ())


def _contrast_row(found: Contrast) -> ValueRow:
    difference, p = _difference(Paired(found.value, found.low, found.high, found.p, found.test))
    first, second = interval(found.first_value), interval(found.second_value)
    return ValueRow("accuracy", "Accuracy (headline)", first, second, difference, p)


def _text_rows(pairs: Sequence[tuple[SampleLine, SampleLine]]) -> tuple[ValueRow, ...]:
    """Compare what was written, where both wrote about every image."""
    if any(line.generated_outcome is None for pair in pairs for line in pair):
        return ()
    right = [
        np.array([line.generated_outcome == "correct" for line in side], float)
        for side in zip(*pairs, strict=True)
    ]
    found = paired_difference(right[0], right[1], [line.group for line, _ in pairs])
    difference, p = _difference(found)
    first, second = (percent(float(side.mean())) for side in right)
    return (ValueRow("text", "Free text, read strictly", first, second, difference, p),)


def _difference(found: Paired) -> tuple[str, str]:
    size = f"{points(100 * found.value)} ({points(100 * found.low)} to {points(100 * found.high)})"
    return size, f"{p_value(found.p)} ({'McNemar' if found.test == MCNEMAR else 'bootstrap'})"


def _rows(first: Record, second: Record) -> tuple[ValueRow, ...]:
    """Return what is shown of both without a test."""
    return tuple(ValueRow(key, name, value(first), value(second)) for key, (name, value) in _VALUES.items())


def _of_answers(name: str) -> Callable[[Record], str]:
    return lambda record: interval(getattr(record.answers, name) if record.answers else None)


def _health(name: str) -> Callable[[Record], str]:
    def value(record: Record) -> str:
        if record.health is None:
            return "not measured"
        part = getattr(record.health, name)
        return (
            f"{number(part.fhs)} ({number(part.low)} to {number(part.high)}), noise {number(part.fhs_noise)}"
        )

    return value


def _spread(record: Record) -> str:
    found = record.answers.prompt_spread if record.answers else None
    return "not measured" if found is None else f"{points(100 * found)} points"


def _reference(record: Record) -> str:
    return interval(record.floors.reference.accuracy if record.floors else None)


def _verdict(record: Record) -> str:
    return record.diagnosis.verdict if record.diagnosis else "not measured"


def _parameters(record: Record) -> str:
    return f"{record.model.parameters:,}"


def _cost(record: Record) -> str:
    total = record.cost.seconds.get("total")
    return "not recorded" if total is None else f"{total:,.0f} s on {record.cost.device}"


_VALUES: dict[str, tuple[str, Callable[[Record], str]]] = {
    "balanced_accuracy": ("Balanced accuracy", _of_answers("balanced_accuracy")),
    "macro_f1": ("Macro F1", _of_answers("macro_f1")),
    "ece": ("Calibration error (ECE)", _of_answers("ece")),
    "letters": ("Option letters, shuffled", _of_answers("letters_accuracy")),
    "consistency": ("Same class under every option order", _of_answers("order_consistency")),
    "spread": ("Best less worst wording", _spread),
    "reference": ("Reference R", _reference),
    "vision": ("FHS, vision encoder", _health("vision")),
    "connector": ("FHS, connector", _health("connector")),
    "llm": ("FHS, language model", _health("llm")),
    "verdict": ("Verdict", _verdict),
    "parameters": ("Parameters", _parameters),
    "cost": ("Time", _cost),
}


def _disagreements(
    pairs: Sequence[tuple[SampleLine, SampleLine]], first: Record, second: Record, *, first_right: bool
) -> tuple[Disagreement, ...]:
    """Return images that one of the two alone got right, the largest gap in the right class's probability first."""
    chosen = [
        (a, b)
        for a, b in pairs
        if (a.outcome == "correct", b.outcome == "correct") == (first_right, not first_right)
    ]
    chosen.sort(key=lambda pair: -abs(_right(pair[0]) - _right(pair[1])))
    found = [(answered(a, first), answered(b, second)) for a, b in chosen[:SHOWN]]
    return tuple(Disagreement(a.id, a.true, a, b) for a, b in found)


def _right(line: SampleLine) -> float:
    """Return the probability of the right class; without label scores, whether the answer is right."""
    shares = probabilities(line)
    return float(line.outcome == "correct") if shares is None else shares[line.label]
