"""What an entry may not be beside others of its board: a link, another spelling of one, a copy, another model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from leaderboard.board.entry import ENTRIES, RECORD, SAMPLES, EntryFiles, read_entry
from leaderboard.board.folder import BoardFolder
from leaderboard.record.record import Record, RecordError
from leaderboard.record.samples import SampleLine
from leaderboard.record.untrusted import read_packed, read_plain, short
from leaderboard.verify.record_checks import finished
from leaderboard.verify.submission import LIMITS, parse_record

_ALIKE = 0.01  # nats by which the scores of one image may differ and yet be a copy, each about its mean
_MOST_ALIKE = 0.5  # share of such images from which on answers are a copy; of two models it is a few percent
_FEWEST = 10  # images of which such a share says anything

_Scores = Mapping[str, np.ndarray]  # by image, about their mean (classes,)


@dataclass(frozen=True)
class Answers:
    """The answers of an entry: the hash of its lines, and the scores of its test images."""

    hash: str
    scores: _Scores = field(repr=False)


@dataclass(frozen=True)
class BoardAnswers:
    """The answers on a board, each entry's read once however many others are compared with it."""

    board: BoardFolder
    _read: dict[Path, Answers | None] = field(default_factory=dict, repr=False, compare=False)

    def of_others(self, target: Path) -> Iterator[tuple[Path, Answers]]:
        """Yield the other entries on the target's task; what `verify` refuses for itself is passed over."""
        for folder in self.board.entry_folders():
            if folder == target or folder.name != target.name:
                continue
            if folder not in self._read:
                self._read[folder] = _answers(folder)
            found = self._read[folder]
            if found is not None:
                yield folder, found


def refuse_links(folder: Path) -> None:
    """Refuse an entry's folder, or its model's, that is a link: it may lead out of the board."""
    for place in (folder, folder.parent):
        if place.is_symlink():
            raise RecordError(f"{ENTRIES}/{short(place.name)}: must be a plain folder, no link; remove it")


def refuse_other_spelling(target: Path, board: BoardFolder) -> None:
    """Names that differ in case alone are one folder on some file systems."""
    for other in board.entry_folders():
        for one, its in ((target.parent, other.parent), (target, other)):
            if one.name != its.name and one.name.lower() == its.name.lower():
                raise RecordError(
                    f"record.json: model.name: differs from the entry {other.parent.name} in upper and lower case "
                    "alone"
                )


def refuse_copies(
    target: Path, files: EntryFiles, samples: Sequence[SampleLine], others: BoardAnswers
) -> None:
    """Two models never give nearly the same scores on most images.

    Probabilities would not do: those of two models that are sure of all they say are alike.
    """
    digest, scores = files.hashes()[SAMPLES], _centred((s.id, s.scores) for s in samples if s.split == "test")
    for folder, answers in others.of_others(target):
        name = f"{folder.parent.name}/{folder.name}"
        if answers.hash == digest:
            raise RecordError(f"samples.jsonl: the very same answers are on the board already, as {name}")
        share = _alike(scores, answers.scores)
        if share >= _MOST_ALIKE:
            raise RecordError(
                f"samples.jsonl: the scores of {100 * share:.0f}% of the test images are those of the entry "
                f"{name}: a copy, or the same model under another name"
            )


def refuse_older(target: Path, files: EntryFiles, record: Record) -> None:
    """Refuse a result that is no newer than the entry it would replace; nothing is refused where there is none."""
    if not target.exists():
        return
    name = f"{target.parent.name}/{target.name}"
    before = read_entry(target)
    lines = {key: value for key, value in files.hashes().items() if key != RECORD}
    if lines == {key: value for key, value in before.files.items() if key != RECORD}:
        raise RecordError(f"samples.jsonl: the very same answers are on the board already, as {name}")
    there = parse_record(read_plain(target / RECORD, LIMITS.record), target / RECORD)
    if finished(record) <= finished(there):
        raise RecordError(
            f"record.json: provenance.finished: {record.provenance.finished}, older than the entry {name} "
            f"({there.provenance.finished})"
        )


def refuse_two_models(target: Path, record: Record) -> None:
    """One name is one model on all tasks: else the best of several would be joined as one."""
    for other in sorted(target.parent.iterdir()):
        if other == target or not (other / RECORD).is_file():
            continue
        there = parse_record(read_plain(other / RECORD, LIMITS.record), other / RECORD).model
        trained = record.model.role == "reference"  # for each task's number of classes
        for name in ("revision", "role", "architecture", *(() if trained else ("parameters",))):
            ours, theirs = getattr(record.model, name), getattr(there, name)
            if ours != theirs:
                raise RecordError(
                    f"record.json: model.{name}: {short(ours)}, but {short(theirs)} in the entry "
                    f"{other.parent.name}/{other.name}: give another model another name, or hand in all tasks anew"
                )


def _answers(folder: Path) -> Answers | None:
    try:
        entry = read_entry(folder)
        lines = read_packed(folder / SAMPLES, LIMITS.samples).splitlines()
        rows = [row for row in map(json.loads, lines) if isinstance(row, dict) and row.get("split") == "test"]
        scores = _centred((str(row.get("id")), row.get("scores")) for row in rows)
    except (RecordError, ValueError, TypeError, OverflowError, RecursionError):
        return None  # that entry is wrong itself, as `verify` says of it
    return Answers(entry.files.get(SAMPLES, ""), scores)


def _centred(scores: Iterator[tuple[str, Any]]) -> _Scores:
    found = {name: np.array(values, dtype=float) for name, values in scores if values}
    return {name: values - values.mean() for name, values in found.items() if np.isfinite(values).all()}


def _alike(one: _Scores, other: _Scores) -> float:
    """Return the share of images with scores in both whose scores are nearly the same."""
    both = [name for name in one if name in other and one[name].shape == other[name].shape]
    if len(both) < _FEWEST:
        return 0.0
    return float(np.mean([np.abs(one[name] - other[name]).max() <= _ALIKE for name in both]))
