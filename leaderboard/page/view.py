"""A board as the page's templates need it: rows, filters and model pages, in order, with their keys."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from markupsafe import Markup

from leaderboard import words
from leaderboard.board.standing import Board, BoardEntry, BoardTask, JoinedRow
from leaderboard.figures import bars
from leaderboard.figures.layers import layer_figure
from leaderboard.figures.svg import Figure
from leaderboard.figures.waterfall import waterfall_figure
from leaderboard.record.parts import Interval

# Ranges of the number of parameters: where each ends, its key and its name.
_SIZES = (
    (1e8, "below-100m", "below 100M"),
    (1e9, "100m-to-1b", "100M to 1B"),
    (3e9, "1b-to-3b", "1B to 3B"),
    (6e9, "3b-to-6b", "3B to 6B"),
    (1e10, "6b-to-10b", "6B to 10B"),
    (2e10, "10b-to-20b", "10B to 20B"),
    (float("inf"), "from-20b", "20B or more"),
)
CONDITIONS = {"released": "as released", "lora": "after LoRA fine-tuning"}  # in a sentence
SHORT_CONDITIONS = {"released": "released", "lora": "LoRA"}
_KEY = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Choice:
    """One value of a filter."""

    key: str
    name: str


@dataclass(frozen=True)
class Filters:
    """The values that occur on the board, by filter."""

    tasks: tuple[Choice, ...]
    families: tuple[Choice, ...]
    conditions: tuple[Choice, ...]
    sizes: tuple[Choice, ...]


@dataclass(frozen=True)
class Place:
    """What a row is found by: keys of its model, family, condition and size."""

    model: str
    family: str
    condition: str
    size: str
    role: str  # "model" or "reference"


@dataclass(frozen=True, eq=False)
class Row:
    """One entry in the table of results."""

    entry: BoardEntry
    place: Place
    task: str  # its key
    symbol: Markup | None
    bar: Markup | None
    profile: Markup | None
    verdict: str | None
    drop: str

    @property
    def anchor(self) -> str:
        """The identifier of this result on its model's page."""
        return f"{page_key(self.place.model)}&task={self.task}"


@dataclass(frozen=True, eq=False)
class Together:
    """One model in the table of all tasks."""

    row: JoinedRow
    place: Place
    bar: Markup


@dataclass(frozen=True)
class Beside:
    """One classifier to hold a result against: what it is to it, its page where it has one, how well it answers."""

    what: str
    name: str
    model: str | None
    accuracy: Interval
    balanced_accuracy: Interval
    bar: Markup
    own: bool = False


@dataclass(frozen=True, eq=False)
class Result:
    """One entry on its model's page."""

    row: Row
    task: BoardTask
    outcomes: Markup | None
    waterfall: Figure | None
    layers: Figure | None
    beside: tuple[Beside, ...]


@dataclass(frozen=True, eq=False)
class ModelPage:
    """Everything that the board has of a model."""

    name: str
    place: Place
    results: tuple[Result, ...]
    joined: JoinedRow | None
    base: str | None  # the key of its base's page


@dataclass(frozen=True, eq=False)
class View:
    """The whole page."""

    board: Board
    filters: Filters
    rows: tuple[Row, ...]
    together: tuple[Together, ...]
    models: tuple[ModelPage, ...]
    tasks: tuple[tuple[str, BoardTask], ...] = field(repr=False)


def page_key(model: str) -> str:
    """Return the identifier of a model's page: it stands in the address, with and without a script."""
    return f"model={model}"


def view_of(board: Board) -> View:
    """Return the board in rows and pages."""
    models = keys([e.name for e in board.entries] + [j.name for j in board.joined])
    tasks = keys(task.name for task in board.tasks)
    families = keys([e.family for e in board.entries] + [j.family for j in board.joined])
    ends = bars.profile_scale(entry.record for entry in board.entries)
    rows = tuple(
        _row(entry, _place(entry, models, families), tasks[entry.record.task.name], ends, f"bar-{number}")
        for number, entry in enumerate(board.entries)
    )
    places = {row.entry.name: row.place for row in rows}
    together = tuple(
        Together(joined, places[joined.name], bars.level_bar(joined.level)) for joined in board.joined
    )
    return View(
        board=board,
        filters=_filters(board, rows, families, tasks),
        rows=rows,
        together=together,
        models=_models(board, rows, places),
        tasks=tuple((tasks[task.name], task) for task in board.tasks),
    )


def keys(names: Iterable[str]) -> dict[str, str]:
    """Return a key of small letters, digits and hyphens for every name, each used once.

    Keys stand in identifiers and in the page's address, where no name of a record does. A name keeps its key
    when others come, but for names that differ in nothing else than case and signs.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names)):
        stem = _KEY.sub("-", name[: words.NAME].lower()).strip("-") or "unnamed"
        key, number = stem, 1
        while key in taken:
            number += 1
            key = f"{stem}-{number}"
        taken.add(key)
        found[name] = key
    return found


def _place(entry: BoardEntry, models: dict[str, str], families: dict[str, str]) -> Place:
    record = entry.record
    return Place(
        models[entry.name],
        families[entry.family],
        record.condition,
        _size(record.model.parameters).key,
        record.model.role,
    )


def _size(parameters: int) -> Choice:
    _, key, name = next(one for one in _SIZES if parameters < one[0])
    return Choice(key, name)


def _row(entry: BoardEntry, place: Place, task: str, ends: tuple[float, float], key: str) -> Row:
    record, answers = entry.record, entry.record.answers
    symbol = None
    if answers is not None:
        chance, majority = 1 / len(record.task.classes), answers.majority_accuracy
        symbol = bars.accuracy_symbol(key, answers.accuracy, chance=chance, majority=majority)
    found = record.diagnosis
    return Row(
        entry,
        place,
        task,
        symbol,
        None if symbol is None else bars.accuracy_copy(key),
        bars.profile_chart(record, ends),
        None if found is None else found.verdict,
        "" if found is None else words.largest_drop(found),
    )


def _filters(board: Board, rows: tuple[Row, ...], families: dict[str, str], tasks: dict[str, str]) -> Filters:
    conditions = {row.place.condition for row in rows}
    sizes = {row.place.size for row in rows}
    return Filters(
        tuple(Choice(tasks[task.name], task.name) for task in board.tasks),
        tuple(Choice(key, name) for name, key in sorted(families.items())),
        tuple(Choice(key, name) for key, name in SHORT_CONDITIONS.items() if key in conditions),
        tuple(Choice(key, name) for _, key, name in _SIZES if key in sizes),
    )


def _models(board: Board, rows: tuple[Row, ...], places: dict[str, Place]) -> tuple[ModelPage, ...]:
    tasks, joined = {task.name: task for task in board.tasks}, {row.name: row for row in board.joined}
    by_task: dict[str, list[Row]] = {}
    by_model: dict[str, list[Row]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
        by_model.setdefault(row.entry.name, []).append(row)
    return tuple(
        ModelPage(
            name,
            places[name],
            tuple(_result(row, tasks[row.entry.record.task.name], by_task[row.task]) for row in held),
            joined.get(name),
            _base(held, places),
        )
        for name, held in sorted(by_model.items(), key=lambda item: (item[1][0].entry.is_reference, item[0]))
    )


def _base(rows: Iterable[Row], places: dict[str, Place]) -> str | None:
    named = next((row.entry.record.model.base for row in rows if row.entry.record.model.base), None)
    return places[named].model if named in places else None


def _result(row: Row, task: BoardTask, same_task: list[Row]) -> Result:
    record = row.entry.record
    return Result(
        row,
        task,
        bars.outcomes_bar(record.answers.outcomes) if record.answers else None,
        waterfall_figure(record),
        layer_figure(record),
        _beside(row, same_task),
    )


def _beside(row: Row, same_task: list[Row]) -> tuple[Beside, ...]:
    """Return the model, its other conditions, its base, the references and R, on the same test images.

    A reference stands by itself: the table of results has the others.
    """
    record = row.entry.record
    found = [_beside_one("this model", row, own=True)]
    others = [one for one in same_task if one is not row]
    for one in others:
        if one.entry.record.model.name == record.model.name:
            found.append(_beside_one(f"the same, {CONDITIONS[one.entry.record.condition]}", one))
        elif record.model.base is not None and one.entry.name == record.model.base:
            found.append(_beside_one("its base", one))
    if not row.entry.is_reference:
        found += [_beside_one("reference", one) for one in others if one.entry.is_reference]
    if record.floors is not None:
        own = record.floors.reference
        bar, what = bars.accuracy_bar(own.accuracy), "reference R of the verdict"
        found.append(Beside(what, own.detail, None, own.accuracy, own.balanced_accuracy, bar))
    return tuple(one for one in found if one is not None)


def _beside_one(what: str, row: Row, *, own: bool = False) -> Beside | None:
    answers = row.entry.record.answers
    if answers is None or row.bar is None:
        return None
    return Beside(
        what, row.entry.name, row.place.model, answers.accuracy, answers.balanced_accuracy, row.bar, own
    )
