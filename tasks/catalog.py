"""Find tasks by name, glob or path, and load them."""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from tasks.document import SHIPPED, SUFFIXES, Node, read_extended
from tasks.file_list import read_file_list
from tasks.included import NOTHING, Included
from tasks.problems import DocumentError, Problem, did_you_mean, dotted, problems_of
from tasks.sources import FolderSource
from tasks.spec import TaskError, TaskSpec


def shipped_names() -> tuple[str, ...]:
    """Return the names of the tasks that come with the package, sorted; bases (`_…`) are none."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml") if not is_base(path)))


def names(included: Included = NOTHING) -> tuple[str, ...]:
    """Return the names of all tasks, shipped and included, sorted."""
    return tuple(sorted({*shipped_names(), *included.files}))


def expand(references: Iterable[str], included: Included = NOTHING) -> tuple[str, ...]:
    """Resolve names, globs over names (`pathmnist*`) and paths to names and paths, each once, in order.

    An included task becomes the path of its file, so that what comes back can be loaded by itself.

    Raises:
        TaskError: for a name that is unknown, a glob that matches nothing, a path that is no file.
    """
    found: dict[str, None] = {}
    for reference in references:
        found.update(dict.fromkeys(_expand_one(reference, included)))
    return tuple(found)


def load(reference: str | Path, included: Included = NOTHING) -> TaskSpec:
    """Load a task by its name, or by the path of its YAML.

    Raises:
        TaskError: if there is no such task or its YAML is wrong; every problem is a line of the message.
    """
    return load_file(_path_of(reference, included))


def load_file(path: Path) -> TaskSpec:
    """Load a task from a YAML file; TaskError as in `load`."""
    if is_base(path):
        raise TaskError.of(Problem(str(path), None, "", "is a base that tasks extend (`_…`), not a task"))
    try:
        document = read_extended(path)
        task = TaskSpec.model_validate(document.plain())
    except DocumentError as error:
        raise TaskError.of(*error.problems) from error
    except ValidationError as error:
        raise TaskError.of(*_problems(error, document)) from error
    problems = tuple(_file_problems(task, path, document))
    if problems:
        raise TaskError.of(*problems)
    return task


def check(path: Path) -> tuple[Problem, ...]:
    """Return everything that is wrong with a task file, or with the stated part of a base; none is good."""
    try:
        if is_base(path):
            document = read_extended(path)
            TaskSpec.model_validate(document.plain())
        else:
            load_file(path)
    except DocumentError as error:
        return error.problems
    except ValidationError as error:
        return _problems(error, document, partial=True)
    return ()


def _problems(error: ValidationError, document: Node, *, partial: bool = False) -> tuple[Problem, ...]:
    return problems_of(error, document, TaskSpec, partial=partial, further_keys=("extends",))


def task_files(reference: str, included: Included = NOTHING) -> tuple[Path, ...]:
    """Return the YAML files that a name, a glob, a file or a folder stands for, bases among a folder's.

    Raises:
        TaskError: if there is none.
    """
    folder = Path(reference)
    if folder.is_dir() and reference not in names(included):
        files = tuple(sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES))
        if not files:
            raise TaskError.of(Problem(reference, None, "", "no task YAML in this folder"))
        return files
    return tuple(_path_of(found, included) for found in expand([reference], included))


def is_base(path: Path) -> bool:
    """Tell whether a file holds what tasks share, rather than a task: its name starts with `_`."""
    return path.name.startswith("_")


def is_shipped(task: TaskSpec) -> bool:
    """Tell whether a task equals, key by key, the one that the package ships under its id."""
    return task.id in shipped_names() and load(task.id) == task


def _expand_one(reference: str, included: Included) -> Iterator[str]:
    if not _is_path(reference) and any(mark in reference for mark in "*?["):
        known = names(included)
        matched = fnmatch.filter(known, reference)
        if not matched:
            message = f"no task matches this; there are {', '.join(known)}"
            raise TaskError.of(Problem(reference, None, "", message))
    else:
        _path_of(reference, included)
        matched = [reference]
    yield from (str(included.files.get(name, name)) for name in matched)


def _is_path(reference: str | Path) -> bool:
    text = str(reference)
    return isinstance(reference, Path) or "/" in text or os.sep in text or text.endswith(SUFFIXES)


def _path_of(reference: str | Path, included: Included) -> Path:
    if _is_path(reference):
        path = Path(reference)
        if not path.is_file():
            raise TaskError.of(Problem(str(path), None, "", "no such task file"))
        return path
    known = names(included)
    if reference not in known:
        way_out = did_you_mean(reference, known) or f"; there are {', '.join(known)}"
        raise TaskError.of(Problem(str(reference), None, "", f"unknown task{way_out}"))
    return included.files.get(str(reference), SHIPPED / f"{reference}.yaml")


def _file_problems(task: TaskSpec, path: Path, document: Node) -> Iterator[Problem]:
    """Check what the schema cannot see: the file's name, and the list of published files."""
    if task.id != path.stem:
        own = document.child("id")
        line = own.line if own is not None and own.file == str(path) else 1
        yield Problem(str(path), line, "id", f"`{task.id}`: must be the file's name, `{path.stem}`")
    if isinstance(task.source, FolderSource) and task.source.file_list is not None:
        for key, message in _list_findings(task, task.source):
            node = document
            for part in ("source", key):
                node = node.child(part) or node
            yield node.problem(dotted(("source", key)), message)


def _list_findings(task: TaskSpec, source: FolderSource) -> Iterator[tuple[str, str]]:
    assert source.file_list is not None
    try:
        files = read_file_list(source.file_list)
    except TaskError as error:
        yield "file_list", str(error)
        return
    for label in sorted({f.label for f in files} - {c.name for c in task.classes}):
        yield "file_list", f"{source.file_list} has the label `{label}`, which is no class"
    counted = Counter(f.split for f in files)
    if set(counted) != set(source.splits):
        yield "splits", f"{source.file_list} has the splits {', '.join(sorted(counted))}"
    if source.published_counts is not None and source.published_counts != counted:
        yield (
            "published_counts",
            f"{source.file_list} counts {', '.join(f'{k} {v}' for k, v in counted.items())}",
        )
