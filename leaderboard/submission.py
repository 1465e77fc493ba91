"""Check a result as if nobody could be trusted: read it within limits, then compute every score again."""

from __future__ import annotations

import gzip
import json
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from leaderboard.board_folder import BoardFolder
from leaderboard.entry import PROBES, RECORD, SAMPLES, EntryFiles, check_name
from leaderboard.probe_checks import check_probes
from leaderboard.recompute import declared_parts, differences, recompute
from leaderboard.record import Record, RecordError
from leaderboard.record_rules import check_record
from leaderboard.sample_checks import check_samples, short
from leaderboard.samples import ProbeLine, SampleLine, parse_lines

RECORD_BYTES = 50 * 2**20  # the largest record that is read
LINES_BYTES = 2 * 2**30  # the largest file of lines, uncompressed
STRING_LETTERS = 20_000  # of the longest string in a record
_DEPTH = 40  # of lists and mappings within each other


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


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
    """A result whose scores were computed again: the record with these, and what is declared in it."""

    record: Record
    official: bool
    declared: tuple[str, ...]
    files: EntryFiles = field(repr=False)


def read_submission(folder: Path) -> Submission:
    """Read a result folder, or an entry's, whose line files are compressed.

    Raises:
        RecordError: a file is missing, no regular file, too large, or breaks its schema; the message names the
            file, the line and the field.
    """
    record = _content(folder / RECORD, RECORD_BYTES)
    content = {RECORD: record}
    for name in (SAMPLES, PROBES):
        content[name] = _lines_content(folder, name)
    parsed = _record(record, folder / RECORD)
    samples = tuple(parse_lines(content[SAMPLES], SampleLine, folder / SAMPLES.removesuffix(".gz")))
    probes = tuple(parse_lines(content[PROBES], ProbeLine, folder / PROBES.removesuffix(".gz")))
    return Submission(folder, parsed, samples, probes, EntryFiles(content))


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
    _check_counts(submission)
    check_probes(submission.probes, submission.samples, task)
    recomputed = recompute(record, submission.samples, submission.probes, task)
    for difference in differences(record, recomputed):
        raise RecordError(f"record.json: {difference}")
    official = images.official and record.task.official_data
    return Checked(recomputed, official, declared_parts(recomputed), submission.files)


def _check_counts(submission: Submission) -> None:
    """The lines are as many as the record says; train and validation are there where probes were fitted."""
    task = submission.record.task
    for name, stated in (("train", task.n_train), ("val", task.n_val), ("test", task.n_test)):
        found = sum(line.split == name for line in submission.samples)
        if found != stated and (name == "test" or submission.probes or found):
            raise RecordError(
                f"record.json: task.n_{name}: {stated} is declared, but samples.jsonl has {found} images"
            )


def _record(content: bytes, path: Path) -> Record:
    try:
        _check_strings(json.loads(content), path)
        return Record.model_validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise RecordError(f"{path}: {short(where)}: {first['msg'][:200]}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: no JSON ({short(' '.join(str(error).split()))})") from error


def _check_strings(content: Any, path: Path) -> None:
    """Refuse strings that nobody could read, and nesting that nothing needs."""
    waiting: list[tuple[str, Any, int]] = [("", content, 0)]
    while waiting:
        place, value, depth = waiting.pop()
        if depth > _DEPTH:
            raise RecordError(f"{path}: {short(place)}: lists and mappings more than {_DEPTH} deep")
        if isinstance(value, str) and len(value) > STRING_LETTERS:
            raise RecordError(
                f"{path}: {short(place)}: a string of {len(value)} letters; at most {STRING_LETTERS} are allowed"
            )
        if isinstance(value, dict):
            for key, inner in value.items():
                if len(key) > STRING_LETTERS:
                    raise RecordError(f"{path}: {short(place)}: a key of {len(key)} letters")
                waiting.append((f"{place}.{key}" if place else key, inner, depth + 1))
        elif isinstance(value, list):
            waiting += [(f"{place}[{i}]", inner, depth + 1) for i, inner in enumerate(value)]


def _lines_content(folder: Path, name: str) -> bytes:
    """Read a file of lines, compressed or not."""
    plain = folder / name.removesuffix(".gz")
    packed = folder / name
    if plain.is_symlink() or plain.exists():
        return _content(plain, LINES_BYTES)
    if not packed.is_symlink() and not packed.exists():
        raise RecordError(
            f"{plain}: is missing; a result folder holds record.json, samples.jsonl, probes.jsonl"
        )
    _regular(packed)
    try:
        with gzip.open(packed, "rb") as stream:
            return _limited(stream, LINES_BYTES, packed)
    except (OSError, EOFError) as error:
        raise RecordError(f"{packed}: cannot be unpacked ({error})") from error


def _content(path: Path, limit: int) -> bytes:
    _regular(path)
    try:
        with path.open("rb") as stream:
            return _limited(stream, limit, path)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error


def _regular(path: Path) -> None:
    """Refuse links, which may lead out of the folder, and what is no file."""
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: is missing; is this a result folder?") from error
    if not stat.S_ISREG(mode):
        raise RecordError(f"{path}: must be a plain file, no link and no folder")


def _limited(stream: _Stream, limit: int, path: Path) -> bytes:
    content = stream.read(limit + 1)
    if len(content) > limit:
        raise RecordError(f"{path}: larger than {limit // 2**20} MB, the most that is read")
    return content
