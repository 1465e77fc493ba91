"""A board's folder: its settings, the tasks and image lists that are its own, and its entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from leaderboard.board.entry import ENTRIES
from leaderboard.board.image_list import ImageList, dump_image_list, read_image_list, shipped_image_list
from leaderboard.record.record import RecordError
from leaderboard.record.untrusted import short
from tasks import catalog
from tasks.document import Node, checked, load_checked
from tasks.files import write_atomically
from tasks.spec import TaskSpec

SETTINGS = "board.yaml"
IMAGES, TASKS = "images", "tasks"
# Entries and lists are known by their bytes, which git would else change on some systems.
_ATTRIBUTES = f"{ENTRIES}/** -text\n{IMAGES}/** -text\n"


class BoardSettings(BaseModel):
    """What `board.yaml` holds. With `official` only official data may enter; else all is marked.

    `tasks`, where it stands there, are all that the board takes: models are joined over the tasks that have
    entries, so that whoever hands in the first one on another would empty that table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: StrictStr = Field(min_length=1, max_length=200)
    official: StrictBool
    tasks: tuple[StrictStr, ...] | None = None


@dataclass(frozen=True)
class BoardFolder:
    """A board on disk."""

    path: Path
    settings: BoardSettings

    def task(self, name: str) -> TaskSpec:
        """Return a task that the board takes: one that is shipped, or one of its own.

        Raises:
            RecordError: it takes none of that name.
            TaskError: its own task's YAML is wrong.
        """
        known = (*catalog.shipped_names(), *self.own_tasks())
        taken = known if self.settings.tasks is None else self.settings.tasks
        if name in taken and name in catalog.shipped_names():
            return catalog.load(name)
        if name in taken and name in self.own_tasks():
            return catalog.load_file(self.path / TASKS / f"{name}.yaml")
        raise RecordError(
            f"record.json: task.name: {short(name)} is no task of this board, which takes {', '.join(taken)}; its "
            "keeper adds one with `harness leaderboard add-task`"
        )

    def own_tasks(self) -> tuple[str, ...]:
        """Return the names of the tasks that the board itself holds."""
        return tuple(sorted(path.stem for path in (self.path / TASKS).glob("*.yaml")))

    def images(self, task: TaskSpec) -> ImageList:
        """Return the list of a task's images: the shipped one, else the board's own.

        Raises:
            RecordError: there is none.
        """
        shipped = shipped_image_list(task)
        if shipped is not None:
            return shipped
        path = self.path / IMAGES / f"{task.id}.csv"
        if not path.is_file():
            raise RecordError(
                f"record.json: task.name: the board has no list of the images of {task.id}; its keeper makes it "
                f"from the data with `harness leaderboard add-task {self.path} {task.id} --data-dir DIR`"
            )
        return read_image_list(path, task)

    def entry_folders(self) -> tuple[Path, ...]:
        """Return the folders of all entries, sorted.

        Raises:
            RecordError: the folder of entries, or a model's in it, is missing or cannot be read.
        """
        root = self.path / ENTRIES
        try:
            models = [p for p in root.iterdir() if p.is_dir() and not p.is_symlink()]
            found = [p for model in models for p in model.iterdir() if not p.name.startswith(".")]
        except OSError as error:
            raise RecordError(f"{error.filename}: cannot be read ({error.strerror})") from error
        return tuple(sorted(p for p in found if p.is_dir()))

    def named_entries(self, names: Iterable[Path]) -> tuple[Path, ...]:
        """Return the folders of entries that are named from here or from the board's folder.

        Raises:
            RecordError: one is no entry of this board.
        """
        root = (self.path / ENTRIES).resolve()
        found = []
        for name in names:
            folder = (name if name.is_dir() else self.path / name).resolve()
            if not folder.is_dir():
                raise RecordError(f"{name}: no such entry, here or in {self.path}")
            if folder.parents[1] != root:
                raise RecordError(
                    f"{name}: is no entry of {self.path}; name {self.path / ENTRIES}/<model>/<task>"
                )
            found.append(self.path / ENTRIES / folder.relative_to(root))
        return tuple(found)


def open_board(path: Path) -> BoardFolder:
    """Read a board's settings.

    Raises:
        RecordError: there is no board, or its settings are wrong.
    """
    file = path / SETTINGS
    if not file.is_file():
        raise RecordError(f"{file}: is not there; `harness leaderboard init {path}` begins a board")
    return BoardFolder(path, load_checked(file, BoardSettings, RecordError))


def init_board(path: Path, *, title: str, official: bool) -> BoardFolder:
    """Begin a board in a folder, which may hold other things.

    Raises:
        RecordError: it holds a board already, or the title is none.
    """
    file = path / SETTINGS
    if file.exists():
        raise RecordError(f"{file}: there is a board already")
    given = {"title": title, "official": official}
    settings = checked(given, Node(None, str(file), None), BoardSettings, RecordError)
    (path / ENTRIES).mkdir(parents=True, exist_ok=True)
    (path / ENTRIES / ".gitkeep").touch()  # git keeps no empty folder
    attributes = path / ".gitattributes"
    if not attributes.exists():
        attributes.write_text(_ATTRIBUTES, encoding="utf-8")
    _write_settings(path, settings)
    return BoardFolder(path, settings)


def add_task(board: BoardFolder, task: TaskSpec, images: ImageList) -> tuple[Path, ...]:
    """Let results on a task enter the board: write its list of images, and its YAML where it is not shipped.

    Returns:
        The files that were written.

    Raises:
        RecordError: the data are not official and the board takes no others, a shipped task of that name is
            another one, or the board's entries are on another one of that name or on other images.
    """
    settings = open_board(board.path).settings  # as it is now: several tasks may be added one by one
    if board.settings.official and not images.official:
        raise RecordError(
            f"{task.id}: the data are not byte for byte the published ones, and the board {board.path} takes "
            f"official data alone ({SETTINGS}: official)"
        )
    if task.id in catalog.shipped_names() and not catalog.is_shipped(task):
        raise RecordError(f"{task.id}: a shipped task has this id and is another one; give yours its own id")
    files = {}
    if task.id not in catalog.shipped_names():
        files[board.path / TASKS / f"{task.id}.yaml"] = _task_yaml(task)
    if shipped_image_list(task) is None:
        files[board.path / IMAGES / f"{task.id}.csv"] = dump_image_list(images)
    _refuse_change(board, task, files)
    for path, text in files.items():
        write_atomically(path, text)
    if settings.tasks is not None and task.id not in settings.tasks:
        changed = settings.model_copy(update={"tasks": (*settings.tasks, task.id)})
        return (_write_settings(board.path, changed), *files)
    return tuple(files)


def _task_yaml(task: TaskSpec) -> str:
    """Write out a task without what it extends, as the board will read it."""
    content = task.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _refuse_change(board: BoardFolder, task: TaskSpec, files: Mapping[Path, str]) -> None:
    """Refuse to change what entries on a task were checked by: all of them would be wrong."""
    entries = sum(folder.name == task.id for folder in board.entry_folders())
    for path, text in files.items():
        if entries and path.exists() and path.read_text(encoding="utf-8") != text:
            raise RecordError(
                f"{path}: differs from {task.id} as it is here, and the board has {entries} entries on it; remove "
                "these folders first, or give the task another id"
            )


def _write_settings(path: Path, settings: BoardSettings) -> Path:
    file = path / SETTINGS
    content = settings.model_dump(mode="json", exclude_none=True)
    write_atomically(file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return file
