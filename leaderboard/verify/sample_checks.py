"""Check the lines of `samples.jsonl`: what follows from scores and text is computed again, image by image."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from leaderboard.board.image_list import ImageList
from leaderboard.record.record import Headline, RecordError
from leaderboard.record.samples import Asked, SampleLine
from leaderboard.record.untrusted import short
from leaderboard.scoring.reading import Wordings, best, read_answers, wordings_of
from tasks.questions import variant_questions
from tasks.spec import TaskSpec

_COPIED = ("split", "id", "label", "group", "pixel_hash")
_TEXT_LETTERS = 50_000  # of the longest text: reading a class takes time that grows with it
LOWEST_SCORE, HIGHEST_SCORE = -1e6, 1e-3  # of a log-probability in nats, allowing for rounding
_MOST_TOGETHER = 0.1  # nats: probabilities add up to 1, but each may come from a pass of its own in 16 bits
# Engines that ask every model in words; a classifier's picture alone decides, and others may lack either.
_ASKING_ENGINES = ("transformers", "vllm", "openai")
_SHARES = "logarithms of probabilities that add up to 1 at most"


class Wrong(NamedTuple):
    """A value that does not follow from what it should: the field, what was found and what is right, in words."""

    field: str
    found: str
    right: str


@dataclass(frozen=True)
class _Asked:
    """What a run asked: the task, the classes' words, and how the headline is read."""

    task: TaskSpec
    headline: Headline
    wordings: Wordings = field(repr=False)

    @property
    def classes(self) -> int:
        return len(self.task.classes)

    @cached_property
    def exclusive(self) -> bool:
        """Whether no class's words begin another's, so that a text can begin with those of one alone."""
        words = sorted(one.wording.lower() for one in self.task.classes)
        return not any(after.startswith(before) for before, after in pairwise(words))


def check_samples(
    samples: Sequence[SampleLine], images: ImageList, task: TaskSpec, headline: Headline
) -> None:
    """Refuse lines that are not of the listed images, or whose answers do not follow from scores and text.

    Every test image must be there once, in the list's order; of train and validation each image at most once.

    Raises:
        RecordError: naming the line and the field.
    """
    _check_images(samples, images)
    asked = _Asked(task, headline, wordings_of(task))
    for number, line in enumerate(samples, start=1):
        for wrong in _wrongs(line, asked):
            raise RecordError(
                f"samples.jsonl:{number}: {wrong.field}: {wrong.found}, but it must be {wrong.right}"
            )
    _check_written(samples)


def check_ways(samples: Sequence[SampleLine], task: TaskSpec, engine: str) -> None:
    """Refuse a run that left out ways of asking which its engine always asks: a bad score may be among them.

    Raises:
        RecordError: naming the field.
    """
    if engine not in _ASKING_ENGINES:
        return
    test = [(number, line) for number, line in enumerate(samples, start=1) if line.split == "test"]
    further = len(task.prompts) > 1 and any(line.scores is not None for _, line in test)
    for number, line in test:
        if line.generated_outcome is None:
            raise RecordError(
                f"samples.jsonl:{number}: generated_outcome: null, but {engine} asks for a text"
            )
        if further and not line.orders:
            raise RecordError(
                f"samples.jsonl:{number}: orders: empty, but {engine} asks every prompt of the task"
            )


def _check_images(samples: Sequence[SampleLine], images: ImageList) -> None:
    known = {(image.split, image.id): image for image in images.images}
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(samples, start=1):
        place, key = f"samples.jsonl:{number}", (line.split, line.id)
        if key not in known:
            raise RecordError(f"{place}: id: {short(line.id)} is no {line.split} image of {images.task}")
        if key in seen:
            raise RecordError(f"{place}: id: {short(line.id)} stands there twice")
        seen.add(key)
        for name in _COPIED:
            found, right = getattr(line, name), getattr(known[key], name)
            if found != right:
                raise RecordError(
                    f"{place}: {name}: {short(found)}, but the list of {images.task} has {short(right)}"
                )
    order = [(line.split, line.id) for line in samples]
    if order != sorted(order, key={key: place for place, key in enumerate(known)}.__getitem__):
        raise RecordError(f"samples.jsonl: id: the images are not in the order of the list of {images.task}")
    for image in images.split("test"):
        if (image.split, image.id) not in seen:
            raise RecordError(f"samples.jsonl: id: the test image {short(image.id)} is missing")


def _wrongs(line: SampleLine, asked: _Asked) -> Iterator[Wrong]:
    """Yield what is wrong with a line."""
    for name in ("scores", "scores_normalised"):
        values = getattr(line, name)
        if values is not None and not _are_scores(values, asked.classes):
            yield Wrong(name, short(values), f"{asked.classes} log-probabilities, one a class")
            return
    if line.scores is not None and asked.exclusive and _together(line.scores) > _MOST_TOGETHER:
        yield Wrong("scores", short(line.scores), _SHARES)
    for name in ("text", "error"):
        # Some letters stand for many, as they are spelled out when a class is read from them.
        letters = len(unicodedata.normalize("NFKC", getattr(line, name) or ""))
        if letters > _TEXT_LETTERS:
            yield Wrong(name, f"{letters} letters", f"at most {_TEXT_LETTERS}")
            return
    if line.split != "test" and (line.text is not None or line.orders or line.generated_outcome is not None):
        yield Wrong("text or orders", "an answer", "none: only test images are asked for these")
    failed = line.generated_outcome == "error"
    right = read_answers(
        asked.wordings,
        asked.headline,
        line.label,
        scores=line.scores,
        scores_error=line.error if line.scores is None else None,
        text=line.text,
        text_error=line.error if failed else None,
    )
    for name, value in right._asdict().items():
        if getattr(line, name) != value:
            yield Wrong(name, short(getattr(line, name)), short(value))
    yield from _wrong_orders(line, asked)


def _are_scores(values: Sequence[float], classes: int) -> bool:
    """Tell whether these can be log-probabilities of the classes; what cannot would break the sums made of it."""
    return len(values) == classes and all(LOWEST_SCORE <= value <= HIGHEST_SCORE for value in values)


def _together(scores: Sequence[float]) -> float:
    """Return the logarithm of the sum of probabilities whose logarithms these are."""
    return float(np.logaddexp.reduce(scores))


def _wrong_orders(line: SampleLine, asked: _Asked) -> Iterator[Wrong]:
    """Check that the further questions are the task's, in its orders, and their answers those of the scores."""
    if line.split != "test":
        return
    questions = [(one.prompt, one.order) for one in line.orders]
    wanted = [(one.prompt_id, one.order) for one in variant_questions(asked.task, line.id)]
    if questions and questions != wanted:
        yield Wrong("orders", "other prompts or option orders", "those of the task, in its order")
        return
    kinds = {prompt.id: prompt.kind for prompt in asked.task.prompts}
    for place, one in enumerate(line.orders):
        letters = kinds[one.prompt] == "letters"
        yield from _wrong_answer(one, f"orders[{place}]", asked.classes, letters or asked.exclusive)


def _wrong_answer(one: Asked, name: str, classes: int, exclusive: bool) -> Iterator[Wrong]:
    if one.scores is not None and not _are_scores(one.scores, classes):
        yield Wrong(f"{name}.scores", short(one.scores), f"{classes} log-probabilities, one a class")
    elif one.scores is not None and exclusive and _together(one.scores) > _MOST_TOGETHER:
        yield Wrong(f"{name}.scores", short(one.scores), _SHARES)
    elif one.predicted != best(one.scores):
        yield Wrong(f"{name}.predicted", short(one.predicted), short(best(one.scores)))


def _check_written(samples: Sequence[SampleLine]) -> None:
    """Refuse a run that asked some test images more than others: what it left out could be chosen."""
    test = [(number, line) for number, line in enumerate(samples, start=1) if line.split == "test"]
    ways: dict[str, Callable[[SampleLine], Any]] = {
        "orders": lambda line: bool(line.orders),
        "generated_outcome": lambda line: line.generated_outcome is not None,
    }
    for name, is_there in ways.items():
        first = is_there(test[0][1])
        for number, line in test:
            if is_there(line) != first:
                raise RecordError(
                    f"samples.jsonl:{number}: {name}: other test images were asked "
                    f"{'so' if first else 'otherwise'} and this one was not; run the evaluation again"
                )
