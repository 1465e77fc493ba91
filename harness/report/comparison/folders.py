"""Find the results that two folders have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leaderboard.record.record import RecordError, read_record


@dataclass(frozen=True)
class Missing:
    """A task that one side has no result of; `title` names the model too where it takes part in matching."""

    title: str
    lacking: Literal["baseline", "candidate"]


@dataclass(frozen=True)
class Matched:
    """Folders of baseline and candidate, pair by pair with a title, and what one of them lacks."""

    pairs: tuple[tuple[str, Path, Path], ...]
    missing: tuple[Missing, ...]


@dataclass(frozen=True)
class _Found:
    folder: Path
    model: str
    task: str


def match_results(baseline: Path, candidate: Path) -> Matched:
    """Match the results of two folders by task, or by model and task where a side holds several models.

    Each is a result folder (with `record.json`), or holds results as `<task>/` or `<model>/<task>/`.

    Raises:
        RecordError: a folder is missing or holds no result, a record cannot be read, two results of one side
            are of the same model and task, or nothing is common to both.
    """
    sides = [[_found(place) for place in result_folders(folder)] for folder in (baseline, candidate)]
    several = any(max(Counter(one.task for one in side).values()) > 1 for side in sides)
    named = [_by_title(side, several) for side in sides]
    common = [title for title in named[0] if title in named[1]]
    if not common:
        tasks = [", ".join(sorted(side)) for side in named]
        raise RecordError(
            f"{baseline} and {candidate} have no task in common: {tasks[0]} in the baseline, "
            f"{tasks[1]} in the candidate"
        )
    missing = [Missing(title, "candidate") for title in named[0] if title not in named[1]]
    missing += [Missing(title, "baseline") for title in named[1] if title not in named[0]]
    return Matched(
        tuple((title, named[0][title].folder, named[1][title].folder) for title in common), tuple(missing)
    )


def result_folders(folder: Path) -> tuple[Path, ...]:
    """Return a result folder, or those that a folder holds as `<task>/` or `<model>/<task>/`, sorted.

    Raises:
        RecordError: the folder is missing, cannot be looked into, or holds no result.
    """
    try:
        if not folder.is_dir():
            raise RecordError(f"{folder}: no such folder; name a result folder or one that holds several")
        if (folder / "record.json").exists():
            places = [folder]
        else:
            found = [*folder.glob("*/record.json"), *folder.glob("*/*/record.json")]
            places = sorted(path.parent for path in found)
    except OSError as error:
        raise RecordError(f"{folder}: cannot be looked into ({error.strerror})") from error
    if not places:
        raise RecordError(
            f"{folder}: no result; there is no record.json in it, in <task>/ or <model>/<task>/"
        )
    return tuple(places)


def _found(folder: Path) -> _Found:
    record = read_record(folder / "record.json")
    return _Found(folder, record.full_name, record.task.name)


def _by_title(results: Sequence[_Found], several: bool) -> dict[str, _Found]:
    """Name each result by its task, with its model where there are several."""
    named: dict[str, _Found] = {}
    for one in results:
        title = f"{one.model} on {one.task}" if several else one.task
        if title in named:
            raise RecordError(
                f"{one.folder} and {named[title].folder} are both of {title}; keep one of them in the folder"
            )
        named[title] = one
    return named
