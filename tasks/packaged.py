"""Folders of tasks that installed packages offer, by entry points of the group `harness.tasks`.

The value of such an entry point is a package that holds the YAMLs (`lumps.tasks`), or an object in a module
(`lumps:TASKS`): the folder's path, or a function without arguments that returns it.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from tasks.problems import Problem
from tasks.spec import TaskError

GROUP = "harness.tasks"


@dataclass(frozen=True)
class PackagedTasks:
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


def packaged_tasks() -> Iterator[PackagedTasks]:
    """Return what installed packages offer, by the entry points' names."""
    for entry_point in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        yield PackagedTasks(entry_point)
