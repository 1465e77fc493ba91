"""What a board shows: its tasks, its entries with their ranks, and the models that were measured on all tasks."""

from __future__ import annotations

from dataclasses import dataclass, field

from leaderboard.board.entry import Rerun, State
from leaderboard.record.parts import Interval
from leaderboard.record.record import Record


@dataclass(frozen=True)
class BoardTask:
    """A task of the board. `official` is true where its list of images is that of the published data."""

    name: str
    title: str
    version: int
    modality: str
    classes: tuple[str, ...]
    n_test: int
    official: bool
    licence: str
    citation: str


@dataclass(frozen=True, eq=False)
class BoardEntry:
    """One model on one task, as the board shows it.

    `folder` is below the board's, with forward slashes. `declared` names the parts of the record that could
    not be recomputed from its lines. `rank` is 1 + the number of models of the task that answer significantly
    better, null for a reference. `level` is the chance-corrected balanced accuracy A of the answers.
    """

    name: str  # the model's, with "@" and the condition where that is not released
    folder: str
    state: State
    declared: tuple[str, ...]
    family: str
    rank: int | None
    level: Interval
    record: Record = field(repr=False)
    rerun: Rerun | None = None  # what came out when the keeper ran it again

    @property
    def is_reference(self) -> bool:
        """Whether this is a classifier trained on the task's own images."""
        return self.record.model.role == "reference"


@dataclass(frozen=True)
class JoinedRow:
    """A model over all tasks of the board: the mean of A, and its rank among those that are complete."""

    name: str
    family: str
    parameters: int
    is_reference: bool
    level: Interval
    rank: int | None


@dataclass(frozen=True, eq=False)
class Board:
    """Everything that the board's page shows.

    Entries are sorted by task, then by accuracy, best first. `joined` holds the models with an entry on every
    one of `joined_tasks`, best first; it is empty for a board of one task.
    """

    title: str
    official: bool  # only official data may enter
    tasks: tuple[BoardTask, ...]
    entries: tuple[BoardEntry, ...] = field(repr=False)
    joined: tuple[JoinedRow, ...]
    joined_tasks: tuple[str, ...]
