"""Say what is wrong with a YAML file in its own words: the file, the line, the key, and the way out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from tasks.document import Node

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


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file, and where. As text: `file:line: key: message`, on one line."""

    file: str
    line: int | None  # from 1; None where no line is to blame
    key: str  # dotted, as in `classes[0].wording`; empty for the file as a whole
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        text = ": ".join(part for part in (place, self.key, self.message) if part)
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class DocumentError(Exception):
    """A YAML file is wrong; the message names file, line and key, one problem a line."""

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems

    @classmethod
    def of(cls, *problems: Problem) -> Self:
        """Make the error that reports these problems."""
        return cls("\n".join(map(str, problems)), problems)

    @property
    def one_line(self) -> str:
        """The message on one line."""
        return "; ".join(str(self).splitlines())


def close_names(name: object, known: Iterable[str], count: int = 1) -> list[str]:
    """Return the known names that are near to this one, the nearest first."""
    return difflib.get_close_matches(str(name), list(known), n=count, cutoff=0.6)


def did_you_mean(name: object, known: Iterable[str], count: int = 1) -> str:
    """Return `; did you mean …?` where something known is near, else nothing."""
    near = close_names(name, known, count)
    return f"; did you mean {' or '.join(f'`{one}`' for one in near)}?" if near else ""


def problems_of(
    error: ValidationError,
    document: Node,
    schema: type[BaseModel],
    *,
    partial: bool = False,
    further_keys: tuple[str, ...] = (),
) -> tuple[Problem, ...]:
    """Translate what pydantic found against a schema, in the order of files and lines.

    With `partial` (a base that tasks extend) keys that are missing are no problem. `further_keys` may stand in
    the file, though the schema has them not.
    """
    found = [_Finding(details, schema, further_keys) for details in error.errors(include_url=False)]
    renamed = {finding.meant for finding in found}
    kept = [
        finding
        for finding in found
        if not (finding.kind == "missing" and (partial or finding.path in renamed))
        and not (finding.kind == "too_short" and _has_wrong_part(finding, found))
        and not (finding.kind == "union_tag_not_found" and partial)
    ]
    problems = {finding.at(document): None for finding in kept}
    return tuple(sorted(problems, key=lambda p: (p.file, p.line or 0)))


def _has_wrong_part(whole: _Finding, found: Sequence[_Finding]) -> bool:
    """Tell whether a list is too short only because pydantic does not count its wrong members."""
    depth = len(whole.path)
    return any(len(one.path) > depth and one.path[:depth] == whole.path for one in found)


def dotted(path: Sequence[int | str]) -> str:
    """Return a path as text: `classes[0].wording`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


class _Finding:
    """One thing that pydantic found.

    Of pydantic's location the `path` in the file leaves out the tag of a union and `[key]`, and it ends with the
    key that chooses among a union's members where that is wrong.
    """

    def __init__(self, details: ErrorDetails, schema: type[BaseModel], further_keys: tuple[str, ...]) -> None:
        self.kind: str = details["type"]
        self._details = details
        place: Any = schema  # the type, or the field, that holds the next part of the location
        path: list[int | str] = []
        self.known: tuple[str, ...] = ()  # the keys that may stand beside the last one
        for part in details["loc"]:
            members = _members(place)
            if part in members:
                place = members[part]
            elif part != "[key]":
                self.known = tuple(_fields(place)) + (() if path else further_keys)
                place = _inner(place, part)
                path.append(part)
        self._tags = tuple(map(str, _members(place)))
        if self.kind in ("union_tag_invalid", "union_tag_not_found"):
            path.append(details["ctx"]["discriminator"].strip("'"))
        self.path = tuple(path)

    @property
    def meant(self) -> tuple[int | str, ...] | None:
        """The path of the key that an unknown one was probably meant to be."""
        near = close_names(self.path[-1], self.known) if self.kind == "extra_forbidden" else []
        return (*self.path[:-1], near[0]) if near else None

    def at(self, document: Node) -> Problem:
        """Return the problem at its place in the file: at the key, or where the key should be."""
        node = document
        for part in self.path:
            node = node.child(part) or node
        return node.problem(dotted(self.path), self._message())

    def _message(self) -> str:
        given = self._details["input"]
        if self.kind == "extra_forbidden":
            known = f"; known are {', '.join(self.known)}"
            return "unknown key" + (did_you_mean(self.path[-1], self.known) or known)
        if self.kind == "literal_error":
            expected = self._details["ctx"]["expected"]
            return f"`{given}`: must be {expected}" + did_you_mean(given, re.findall("'([^']*)'", expected))
        if self.kind == "union_tag_invalid":
            tag = self._details["ctx"]["tag"]
            return f"`{tag}`: must be {' or '.join(self._tags)}{did_you_mean(tag, self._tags)}"
        if self.kind == "union_tag_not_found":
            return f"is required: {' or '.join(self._tags)}"
        message = self._details["msg"].removeprefix("Value error, ")
        return _MESSAGES.get(self.kind, re.sub(r"^[A-Z][a-z]+ should ", "must ", message))


def _fields(place: Any) -> Mapping[str, FieldInfo]:
    """Return the fields of the model that stands at a place; of a union's, those of its first model."""
    kind = place.annotation if isinstance(place, FieldInfo) else place
    models = [one for one in (kind, *get_args(kind)) if hasattr(one, "model_fields")]
    return models[0].model_fields if models else {}


def _inner(place: Any, part: int | str) -> Any:
    """Return what holds the value under a key or list index: a field, or the type of a container's values."""
    fields = _fields(place)
    if part in fields:
        return fields[str(part)]
    kind = place.annotation if isinstance(place, FieldInfo) else place
    for one in (kind, *get_args(kind)):
        if isinstance(get_origin(one), type) and issubclass(get_origin(one), Mapping | Sequence):
            return [inner for inner in get_args(one) if inner is not Ellipsis][-1]
    return None


def _members(place: Any) -> Mapping[int | str, Any]:
    """Return the models of a union that one key tells apart, by that key's value."""
    if not isinstance(place, FieldInfo) or not isinstance(place.discriminator, str):
        return {}
    models = get_args(place.annotation)
    return {get_args(m.model_fields[place.discriminator].annotation)[0]: m for m in models}
