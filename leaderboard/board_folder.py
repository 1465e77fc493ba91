"""A board's folder: its settings, the tasks and image lists that are its own, and its entries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError

from leaderboard.entry import ENTRIES
from leaderboard.image_list import ImageList, dump_image_list, read_image_list, shipped_image_list
from leaderboard.one_line import short
from leaderboard.record import RecordError
from tasks import catalog
from tasks.spec import TaskSpec

SETTINGS = "board.yaml"
IMAGES, TASKS = "images", "tasks"


class BoardSettings(BaseModel):
    """What `board.yaml` holds. With `official` only official data may enter; else all is marked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: StrictStr = Field(min_length=1, max_length=200)
    official: StrictBool


@dataclass(frozen=True)
class BoardFolder:
    """A board on disk."""

    path: Path
    settings: BoardSettings

    def task(self, name: str) -> TaskSpec:
        """Return a task that the board knows: one that is shipped, or one of its own.

        Raises:
            RecordError: it knows none of that name.
            TaskError: its own task's YAML is wrong.
        """
        if name in catalog.shipped_names():
            return catalog.load(name)
        if name in self.own_tasks():
            return catalog.load_file(self.path / TASKS / f"{name}.yaml")
        known = ", ".join([*catalog.shipped_names(), *self.own_tasks()])
        raise RecordError(
            f"record.json: task.name: {short(name)} is no task of this board; it knows {known}. Its keeper adds "
            f"one with `harness leaderboard add-task`"
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
        """Return the folders of all entries, sorted."""
        root = self.path / ENTRIES
        hidden = (p for p in root.glob("*/*") if not p.name.startswith("."))
        return tuple(sorted(p for p in hidden if p.is_dir() and not p.parent.is_symlink()))


def open_board(path: Path) -> BoardFolder:
    """Read a board's settings.

    Raises:
        RecordError: there is no board, or its settings are wrong.
    """
    file = path / SETTINGS
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return BoardFolder(path, BoardSettings.model_validate(content))
    except OSError as error:
        raise RecordError(
            f"{file}: cannot be read ({error.strerror}); `harness leaderboard init {path}` begins a board"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecordError(f"{file}: not valid YAML ({' '.join(str(error).split())})") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise RecordError(f"{file}: {where}: {first['msg']}") from error


def init_board(path: Path, settings: BoardSettings) -> BoardFolder:
    """Begin a board in a folder, which may hold other things.

    Raises:
        RecordError: it holds a board already.
    """
    file = path / SETTINGS
    if file.exists():
        raise RecordError(f"{file}: there is a board already")
    (path / ENTRIES).mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(settings.model_dump(), sort_keys=False, allow_unicode=True), "utf-8")
    return BoardFolder(path, settings)


def add_task(board: BoardFolder, task: TaskSpec, images: ImageList) -> tuple[Path, ...]:
    """Let results on a task enter the board: write its list of images, and its YAML where it is not shipped.

    Returns:
        The files that were written.

    Raises:
        RecordError: the data are not official and the board takes no others, or a shipped task of that name is
            another one.
    """
    if board.settings.official and not images.official:
        raise RecordError(
            f"{task.id}: the data are not byte for byte the published ones, and the board {board.path} takes "
            f"official data alone ({SETTINGS}: official)"
        )
    if task.id in catalog.shipped_names() and not catalog.is_shipped(task):
        raise RecordError(f"{task.id}: a shipped task has this id and is another one; give yours its own id")
    written = []
    if task.id not in catalog.shipped_names():
        written.append(_write(board.path / TASKS / f"{task.id}.yaml", _task_yaml(task)))
    if shipped_image_list(task) is None:
        written.append(_write(board.path / IMAGES / f"{task.id}.csv", dump_image_list(images)))
    return tuple(written)


def _task_yaml(task: TaskSpec) -> str:
    """Write out a task without what it extends, as the board will read it."""
    content = task.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
