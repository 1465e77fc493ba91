"""Read a class out of label scores or free text, or say that none can be read. Nothing is guessed.

Other harnesses report accuracies that are off by tens of points because an answer that cannot be read
becomes a random class, the nearest string, or class 1. Here it becomes `no_answer`.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from leaderboard.record.record import Headline
from leaderboard.record.samples import Outcome
from leaderboard.scoring.negation import MASK, Stance, soften, stance
from tasks.spec import TaskSpec

# Templates that open the thinking themselves leave only its end in what the model wrote.
_THINKING = re.compile(
    r"\A(?:(?!<think>).)*?</think>|<think>.*?(?:</think>|\Z)|<unused94>.*?(?:<unused95>|\Z)", re.DOTALL | re.I
)
_ANSWER_TAG = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL | re.I)
_SENTENCE_END = re.compile(r"[.!?;]")


def best(scores: Sequence[float] | None) -> int | None:
    """Return the index of the highest score; None without scores. A tie goes to the first."""
    return None if scores is None else max(range(len(scores)), key=scores.__getitem__)


@dataclass(frozen=True)
class Wordings:
    """The words that name each class, longest first, ready to be searched for."""

    patterns: tuple[tuple[int, re.Pattern[str]], ...]


def wordings_of(task: TaskSpec) -> Wordings:
    """Collect every class's name, wording and aliases.

    A name of one character that is not the wording is left out: "a", or the "m" of "I'm", names no class.
    """
    words = sorted(
        {
            (_plain(word).strip().lower(), index)
            for index, cls in enumerate(task.classes)
            for word in (cls.name, cls.wording, *cls.aliases)
            if len(word) > 1 or word == cls.wording
        },
        key=lambda pair: (-len(pair[0]), pair),
    )
    return Wordings(tuple((index, _pattern(word)) for word, index in words))


def _pattern(word: str) -> re.Pattern[str]:
    flexible = r"(?: ?- ?| )".join(re.escape(part) for part in re.split(r"[ -]+", word))
    return re.compile(rf"(?<!\w){flexible}(?!\w)", re.IGNORECASE)


def read_class(text: str, wordings: Wordings) -> int | None:
    """Return the one class that the text asserts, or None where it asserts none or more than one.

    Thinking between `<think>` tags is left out, an `<answer>` tag is preferred, the longest wording
    wins where one contains another ("normal colon mucosa" is not "normal"). A class that is denied
    ("no pneumonia") or asked about ("Is it benign?") is not an answer; where it is unclear whether a
    class is denied, or one is both asserted and denied, nothing is read.
    """
    spoken = _THINKING.sub(" ", text)
    tagged = _ANSWER_TAG.findall(spoken)
    plain = soften(_plain(". ".join(tagged) if tagged else spoken))
    mentions, masked = _mentions(plain, wordings)
    stances: dict[Stance, set[int]] = {"asserted": set(), "denied": set(), "unclear": set()}
    previous: Stance | None = None
    ends = [(match.start(), match.group()) for match in _SENTENCE_END.finditer(masked)]
    for start, end, index in mentions:
        if not _is_question(ends, end):
            previous = stance(masked, start, end, previous)
            stances[previous].add(index)
    asserted = stances["asserted"]
    if len(asserted) != 1 or stances["unclear"] or asserted & stances["denied"]:
        return None
    return next(iter(asserted))


def _plain(text: str) -> str:
    """Undo typography: compatibility forms, dashes, quotes, Markdown, line breaks, invisible characters."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'").replace(MASK, " ")
    text = "".join(
        "-" if unicodedata.category(c) == "Pd" else c for c in text if unicodedata.category(c) != "Cf"
    )
    text = re.sub(r"[*_`]+", " ", text)
    return re.sub(r"\s+", lambda gap: ". " if len(re.findall("\n", gap.group())) > 1 else " ", text)


def _mentions(text: str, wordings: Wordings) -> tuple[list[tuple[int, int, int]], str]:
    """Return every mention as (start, end, class) in the order of the text, and the text masked."""
    found: list[tuple[int, int, int]] = []
    for index, pattern in wordings.patterns:
        here = [(match.start(), match.end(), index) for match in pattern.finditer(text)]
        text = pattern.sub(lambda match: MASK * len(match.group()), text)
        found += here
    return sorted(found), text


def _is_question(ends: list[tuple[int, str]], position: int) -> bool:
    """Tell whether the sentence around a position ends in a question mark; `ends` are all ends, in order."""
    place = bisect_left(ends, (position, ""))
    return place < len(ends) and ends[place][1] == "?"


def outcome(predicted: int | None, label: int, error: str | None) -> Outcome:
    """Name what became of one image."""
    if error is not None:
        return "error"
    if predicted is None:
        return "no_answer"
    return "correct" if predicted == label else "wrong"


class ReadAnswers(NamedTuple):
    """What follows from an image's text and label scores: the text's class and outcome, and the headline's."""

    read: int | None
    generated_outcome: Outcome | None
    predicted: int | None
    outcome: Outcome


def read_answers(
    wordings: Wordings,
    headline: Headline,
    label: int,
    *,
    scores: Sequence[float] | None,
    scores_error: str | None,
    text: str | None,
    text_error: str | None,
) -> ReadAnswers:
    """Return what an image's answers say. Where the text is the headline and none was asked for, its scores are.

    An error is None where there was none; a text that is None without an error was not asked for.
    """
    read = read_class(text, wordings) if text is not None and text_error is None else None
    asked = text is not None or text_error is not None
    generated = outcome(read, label, text_error) if asked else None
    if headline == "generated" and generated is not None:
        return ReadAnswers(read, generated, read, generated)
    predicted = best(scores)
    return ReadAnswers(read, generated, predicted, outcome(predicted, label, scores_error))
