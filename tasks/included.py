"""Tasks that do not come with the harness: of folders that a user names, and of installed packages.

A package offers a folder of tasks by an entry point of the group `harness.tasks`. Its value is a package that
holds the YAMLs (`lumps.tasks`), or an object in a module (`lumps:TASKS`): the folder's path, or a function
without arguments that returns it.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from tasks.document import SHIPPED, SUFFIXES
from tasks.problems import Problem
from tasks.spec import TaskError

GROUP = "harness.tasks"


@dataclass(frozen=True)
class Included:
    """Task files beside the shipped ones, by name.

    `folders` are where they are from. `problems` says in one line each which package's tasks were left out,
    and why.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()


NOTHING = Included()


def included_tasks(folders: Iterable[Path] = ()) -> Included:
    """Return the tasks of `folders`, and those that installed packages offer by the entry point `harness.tasks`.

    Only names are looked at: a YAML is read when its task is asked for. What a package offers and cannot be
    had is a problem of that package alone.

    Raises:
        TaskError: one of `folders` is none, holds no task, or a task in it has the name of another.
    """
    files: dict[str, Path] = {}
    places: list[Path] = []
    problems: list[str] = []
    for folder in folders:
        files.update(_tasks_in(folder, files))
        places.append(folder)
    for offer in _packaged_tasks():
        try:
            folder = offer.folder()
            files.update(_tasks_in(folder, files))
        except TaskError as error:
            problems.append(f"{offer.title} is left out: {error}")
            continue
        places.append(folder)
    return Included(files, tuple(places), tuple(problems))


def _tasks_in(folder: Path, known: Mapping[str, Path]) -> dict[str, Path]:
    """Return the tasks of one folder by name, none of which may be known or shipped already."""
    if not folder.is_dir():
        raise TaskError.of(Problem(str(folder), None, "", "no such folder of tasks"))
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix not in SUFFIXES or path.name.startswith("_"):
            continue
        shipped = SHIPPED / f"{path.stem}.yaml"
        other = known.get(path.stem) or found.get(path.stem) or (shipped if shipped.is_file() else None)
        if other is not None and other.resolve() != path.resolve():
            raise TaskError.of(
                Problem(str(path), None, "", f"has the name of the task {other}; rename one of the two")
            )
        found[path.stem] = path
    if not found:
        raise TaskError.of(Problem(str(folder), None, "", "no task YAML in this folder"))
    return found


@dataclass(frozen=True)
class _PackagedTasks:
    """One entry point; nothing of its package is imported before `folder` is asked for."""

    entry_point: EntryPoint

    @property
    def title(self) -> str:
        """The entry point in messages: its name, value and package."""
        package = self.entry_point.dist.name if self.entry_point.dist else "an unnamed package"
        return f"the entry point {self.entry_point.name} = {self.entry_point.value} ({GROUP}) of {package}"

    def folder(self) -> Path:
        """Import the package and return its folder of tasks.

        Raises:
            TaskError: the package cannot be imported, or what it names is no folder.
        """
        value = self.entry_point.value
        try:
            found = self.entry_point.load()
            if isinstance(found, ModuleType):
                found = importlib.resources.files(found)
            elif callable(found):
                found = found()
        except (Exception, SystemExit) as error:  # a package's own code may raise anything
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise TaskError.of(Problem(value, None, "", f"cannot be loaded ({reason})")) from error
        folder = Path(str(found))
        if not folder.is_dir():
            raise TaskError.of(Problem(value, None, "", f"{folder} is no folder"))
        return folder


def _packaged_tasks() -> Iterator[_PackagedTasks]:
    """Return what installed packages offer, by the entry points' names."""
    for entry_point in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        yield _PackagedTasks(entry_point)
