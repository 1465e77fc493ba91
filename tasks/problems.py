"""Say what a validation found in the words of a task file: the key, its file and line, and the way out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from tasks.sources import FolderSource, HubSource, NpzSource, PhantomSource, SplitSource
from tasks.spec import ClassSpec, Problem, PromptSpec, SubsetSpec, TaskSpec

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from tasks.document import Node

_SOURCES: dict[str, type[BaseModel]] = {
    "npz": NpzSource,
    "folder": FolderSource,
    "phantom": PhantomSource,
    "hub": HubSource,
}
_MESSAGES = {
    "missing": "is required",
    "string_type": "must be text (put numbers, yes and no in quotes)",
    "string_too_short": "must not be empty",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
}


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return `; did you mean …?` where something known is near, else nothing."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else ""


def problems_of(error: ValidationError, document: Node, *, partial: bool = False) -> tuple[Problem, ...]:
    """Translate pydantic's findings, in the order of files and lines.

    With `partial` (a base that tasks extend) keys that are missing are no problem.
    """
    found = error.errors(include_url=False)
    renamed = {suggestion for details in found if (suggestion := _suggested(details)) is not None}
    kept = [
        details
        for details in found
        if not (details["type"] == "missing" and (partial or _path(details["loc"]) in renamed))
        and not (details["type"] == "union_tag_not_found" and partial)
    ]
    problems = {_problem(details, document): None for details in kept}
    return tuple(sorted(problems, key=lambda p: (p.file, p.line or 0)))


def dotted(path: Sequence[int | str]) -> str:
    """Return a path as text: `classes[0].wording`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _problem(details: ErrorDetails, document: Node) -> Problem:
    path = _path(details["loc"])
    if details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        path = (*path, "layout")
    node = document
    for part in path:
        node = node.child(part) or node
    return node.problem(dotted(path), _message(details))


def _path(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return pydantic's location without the layout that it puts after `source`, and without `[key]`."""
    tagged = len(location) > 1 and location[0] == "source" and location[1] in _SOURCES
    path = (location[0], *location[2:]) if tagged else location
    return path[:-1] if path and path[-1] == "[key]" else path


def _message(details: ErrorDetails) -> str:
    kind, given = details["type"], details["input"]
    if kind == "extra_forbidden":
        known = _known_keys(details["loc"])
        return "unknown key" + (did_you_mean(details["loc"][-1], known) or f"; known are {', '.join(known)}")
    if kind == "literal_error":
        expected = details["ctx"]["expected"]
        meant = did_you_mean(given, re.findall(r"'([^']*)'", expected))
        return f"`{given}`: must be {expected}{meant}"
    if kind == "union_tag_invalid":
        tag = details["ctx"]["tag"]
        return f"`{tag}`: must be {' or '.join(_SOURCES)}{did_you_mean(tag, _SOURCES)}"
    if kind == "union_tag_not_found":
        return f"is required: {' or '.join(_SOURCES)}"
    message = _MESSAGES.get(kind, details["msg"].removeprefix("Value error, "))
    return message.replace("Input should be", "must be")


def _suggested(details: ErrorDetails) -> tuple[int | str, ...] | None:
    """Return the path of the key that an unknown key was probably meant to be."""
    if details["type"] != "extra_forbidden":
        return None
    near = difflib.get_close_matches(str(details["loc"][-1]), _known_keys(details["loc"]), n=1, cutoff=0.6)
    return (*_path(details["loc"])[:-1], near[0]) if near else None


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are known where the last part of `location` stands."""
    model: type[BaseModel]
    match location[:-1]:
        case ("classes", int()):
            model = ClassSpec
        case ("prompts", int()):
            model = PromptSpec
        case ("subset",):
            model = SubsetSpec
        case ("source", str() as layout):
            model = _SOURCES[layout]
        case ("source", str(), "splits", str()):
            model = SplitSource
        case _:
            return [*TaskSpec.model_fields, "extends"]
    return list(model.model_fields)
