"""The lines of `samples.jsonl` and `probes.jsonl`: what a record's scores are computed from."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from leaderboard.record.parts import Part
from leaderboard.record.record import RecordError
from leaderboard.record.untrusted import printable
from probes.sites import Module, Pool
from tasks.sources import SplitName

Outcome = Literal["correct", "wrong", "no_answer", "error"]

MAIN_READOUT = "linear"  # the one a verdict uses
CLASS_READOUTS = (MAIN_READOUT, "paper")  # those whose lines are probes of the class at a layer
ANSWER_TARGET = "answer_target"  # the readout of the probes for the letter of the right option
FLOOR = "floor"  # the readout of what no layer of a model enters
FLOORS = ("reference", "pixels", "majority")  # its sites

NO_CLASS = -1  # stands for an answer or a prediction that names no class
NOT_ASKED = -1  # stands for the letter of an image that was not asked


class Asked(Part):
    """One further way in which a test image was asked, beside the primary prompt.

    `order[i]` is the class at position i of the options; `scores` are log-likelihoods in nats in the
    order of the classes, null where there was an error; `predicted` is a class index.
    """

    prompt: str
    order: tuple[int, ...]
    scores: tuple[float, ...] | None
    predicted: int | None


class SampleLine(Part):
    """One image: what it is, how the primary prompt was answered, and every other way it was asked.

    `scores` are log-likelihoods of the classes' wordings in nats, in the order of the classes;
    `predicted` the class index of the headline; `text` the free generation and `read` the class read
    from it. Images of train and validation carry the primary prompt's scores alone.
    """

    id: str
    split: SplitName
    pixel_hash: str
    label: int
    group: str
    scores: tuple[float, ...] | None
    scores_normalised: tuple[float, ...] | None
    predicted: int | None
    text: str | None
    read: int | None
    outcome: Outcome
    generated_outcome: Outcome | None
    orders: tuple[Asked, ...]
    error: str | None = None


class ProbeLine(Part):
    """One probe on one split: predictions and class scores in the order of the split's samples.

    `targets` is null where the probe predicts the class. The readout "answer_target" predicts the letter of
    the right option instead: 0 for A, -1 for an image that was not asked. The module "image" and the readout
    "floor" mark what no layer of a model enters: the site is "reference", "pixels" or "majority".
    """

    site: str
    module: Module | Literal["image"]
    layer: int
    pool: Pool
    width: int
    consumed: bool
    readout: str
    seed: int
    split: SplitName
    predictions: tuple[int, ...]
    scores: tuple[tuple[float, ...], ...]  # log-probabilities, one row an image
    targets: tuple[int, ...] | None = None


_AnyLine = TypeVar("_AnyLine", bound=Part)


def dump_lines(lines: Iterable[Part]) -> str:
    """Return lines as JSON text, one a line."""
    return "".join(line.model_dump_json() + "\n" for line in lines)


def read_lines(path: Path, kind: type[_AnyLine]) -> Iterator[_AnyLine]:
    """Read a file of lines, checking each.

    Raises:
        RecordError: the file is missing or a line breaks the schema; the message names the line.
    """
    try:
        stream = path.open("rb")  # lines of JSON end in \n alone
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    with stream:
        yield from _parsed(stream, kind, path)


def parse_lines(content: bytes, kind: type[_AnyLine], path: Path) -> Iterator[_AnyLine]:
    """Parse the content of a file of lines; `path` is named in messages. RecordError as in `read_lines`."""
    yield from _parsed(io.BytesIO(content), kind, path)


def _parsed(stream: Iterable[bytes], kind: type[_AnyLine], path: Path) -> Iterator[_AnyLine]:
    for number, text in enumerate(stream, start=1):
        try:
            yield kind.model_validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = printable(".".join(str(part) for part in first["loc"]), 100) or "line"
            raise RecordError(f"{path}:{number}: {where}: {printable(first['msg'], 200)}") from error
