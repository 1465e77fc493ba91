"""Check a result as if nobody could be trusted: read it within limits, then compute every score again."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from leaderboard.board.entry import PROBES, RECORD, SAMPLES, EntryFiles, check_name
from leaderboard.board.folder import BoardFolder
from leaderboard.record.record import Record, RecordError, dump_record
from leaderboard.record.samples import ProbeLine, SampleLine, dump_lines, parse_lines
from leaderboard.record.untrusted import printable, read_packed, read_plain
from leaderboard.scoring.recompute import declared_parts, differences, recompute
from leaderboard.scoring.score import Lines
from leaderboard.verify.probe_checks import check_probes
from leaderboard.verify.record_checks import check_declared, check_record
from leaderboard.verify.sample_checks import check_samples, check_ways

STRING_LETTERS = 20_000  # of the longest string in a record
_DEPTH = 40  # of lists and mappings within each other
_LARGEST_INTEGER = 2**63 - 1

_AnyLine = TypeVar("_AnyLine", SampleLine, ProbeLine)


@dataclass(frozen=True)
class Limits:
    """The most that is read of a result, in bytes; of lines that are compressed, what they unpack to."""

    record: int = 4 * 2**20
    samples: int = 512 * 2**20
    probes: int = 2**31
    sample_line: int = 2**20
    probe_line: int = 64 * 2**20


LIMITS = Limits()


@dataclass(frozen=True, eq=False)
class Submission:
    """A result as it was handed in, its files within the limits and each line after its schema."""

    folder: Path
    record: Record
    samples: tuple[SampleLine, ...] = field(repr=False)
    probes: tuple[ProbeLine, ...] = field(repr=False)
    files: EntryFiles = field(repr=False)


@dataclass(frozen=True, eq=False)
class Checked:
    """A result whose scores were computed again: the record with these, and what is declared in it.

    `files` is what was handed in, each file as this project writes it: a key that stands there twice, or what
    hides between lines, is not carried along.
    """

    record: Record
    official: bool
    declared: tuple[str, ...]
    files: EntryFiles = field(repr=False)


def read_submission(folder: Path, limits: Limits = LIMITS) -> Submission:
    """Read a result folder, or an entry's, whose line files are compressed.

    Raises:
        RecordError: a file is missing, no regular file, too large, or breaks its schema; the message names the
            file, the line and the field.
    """
    record = read_plain(folder / RECORD, limits.record)
    parsed = parse_record(record, folder / RECORD)
    samples = _lines_content(folder, SAMPLES, limits.samples)
    probes = _lines_content(folder, PROBES, limits.probes)
    task = parsed.task
    images = max(0, task.n_train) + max(0, task.n_val) + max(0, task.n_test)
    return Submission(
        folder,
        parsed,
        _lines(samples, SampleLine, folder / SAMPLES.removesuffix(".gz"), limits.sample_line, images),
        _lines(probes, ProbeLine, folder / PROBES.removesuffix(".gz"), limits.probe_line, None),
        EntryFiles({RECORD: record, SAMPLES: samples, PROBES: probes}),
    )


def check_submission(submission: Submission, board: BoardFolder) -> Checked:
    """Check a result against the board's tasks and lists, and compute its scores again.

    Raises:
        RecordError: it is incomplete, of another version, on other images, not consistent, or declares a score
            that its lines do not give; the message names the first field.
    """
    record = submission.record
    check_name(record.model.name)
    task = board.task(record.task.name)
    images = board.images(task)
    check_record(record, task, images, board.settings.official)
    headline = record.answers.headline_source if record.answers else "scores"
    check_samples(submission.samples, images, task, headline)
    check_ways(submission.samples, task, record.model.engine)
    _check_counts(submission)
    check_probes(submission.probes, submission.samples, task)
    check_declared(record, submission.probes, task)
    recomputed = recompute(record, Lines(submission.samples, submission.probes), task)
    for difference in differences(record, recomputed):
        raise RecordError(f"record.json: {difference}")
    official = images.official and record.task.official_data
    declared = declared_parts(recomputed, len(images.split("train")))
    return Checked(recomputed, official, declared, _rewritten(submission))


def _rewritten(submission: Submission) -> EntryFiles:
    return EntryFiles(
        {
            RECORD: dump_record(submission.record).encode(),
            SAMPLES: dump_lines(submission.samples).encode(),
            PROBES: dump_lines(submission.probes).encode(),
        }
    )


def _check_counts(submission: Submission) -> None:
    """The lines are as many as the record says; train and validation are there where probes were fitted."""
    task = submission.record.task
    for name, stated in (("train", task.n_train), ("val", task.n_val), ("test", task.n_test)):
        found = sum(line.split == name for line in submission.samples)
        if found != stated and (name == "test" or submission.probes or found):
            raise RecordError(
                f"record.json: task.n_{name}: {stated} is declared, but samples.jsonl has {found} images"
            )


def parse_record(content: bytes, path: Path) -> Record:
    """Parse a record that may come from anyone; `path` is named in messages.

    Raises:
        RecordError: it is no JSON, breaks the schema, or holds what nobody could read.
    """
    try:
        _check_values(json.loads(content), path)
        return Record.model_validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = printable(".".join(map(str, first["loc"])), 100) or "the file"
        raise RecordError(f"{path}: {where}: {printable(first['msg'], 200)}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: the file: no JSON ({printable(str(error), 120)})") from error


def _check_values(content: Any, path: Path) -> None:
    """Refuse strings that nobody could read, nesting that nothing needs, and numbers that are none."""
    waiting: list[tuple[str, Any, int]] = [("", content, 0)]
    while waiting:
        place, value, depth = waiting.pop()
        problem = _problem(value, depth)
        if problem is not None:
            raise RecordError(f"{path}: {printable(place, 100) or 'the file'}: {problem}")
        place = place[:100]  # long keys would else be held once for each value below them
        if isinstance(value, dict):
            dot = "." if place else ""
            waiting += [(f"{place}{dot}{key[:100]}", inner, depth + 1) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{place}[{i}]", inner, depth + 1) for i, inner in enumerate(value)]


def _problem(value: Any, depth: int) -> str | None:
    """Say what is wrong with one value of a record, whatever stands within it."""
    if depth > _DEPTH:
        return f"lists and mappings more than {_DEPTH} deep"
    longest = max(map(len, value), default=0) if isinstance(value, dict) else 0
    longest = len(value) if isinstance(value, str) else longest
    if longest > STRING_LETTERS:
        what = "key" if isinstance(value, dict) else "string"
        return f"a {what} of {longest} letters; at most {STRING_LETTERS} are allowed"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite"
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return "a whole number of more than 64 bits"
    return None


def _lines_content(folder: Path, name: str, limit: int) -> bytes:
    """Read a file of lines, compressed or not."""
    plain, packed = folder / name.removesuffix(".gz"), folder / name
    if plain.is_symlink() or plain.exists():
        return read_plain(plain, limit)
    if not packed.is_symlink() and not packed.exists():
        raise RecordError(
            f"{plain}: is missing; a result folder holds record.json, samples.jsonl, probes.jsonl"
        )
    return read_packed(packed, limit)


def _lines(
    content: bytes, kind: type[_AnyLine], path: Path, longest: int, most: int | None
) -> tuple[_AnyLine, ...]:
    """Parse lines of at most `longest` bytes each, and no more of them than `most`."""
    for number, line in enumerate(io.BytesIO(content), start=1):
        if len(line) > longest:
            raise RecordError(f"{path}:{number}: line: {len(line)} bytes; at most {longest} are allowed")
        if most is not None and number > most:
            raise RecordError(f"{path}:{number}: line: record.json says that there are {most} images in all")
    return tuple(parse_lines(content, kind, path))
