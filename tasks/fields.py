"""The kinds of values that a task's YAML holds, and how a rule beyond them is told to have been broken."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveInt,
    Strict,
    StringConstraints,
    ValidationError,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

# The location of a key below the checked value, and what is wrong there.
Finding = tuple[tuple[int | str, ...], str]


class Stated(BaseModel):
    """A part of a task as its YAML states it: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def refuse(model: str, findings: Iterable[Finding]) -> None:
    """Raise one ValidationError that holds every finding at its own key, if there is any."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError("task", "{reason}", {"reason": reason}), loc=key, input=None
        )
        for key, reason in findings
    ]
    if details:
        raise ValidationError.from_exception_data(model, details)


def _form(pattern: str, wanted: str) -> AfterValidator:
    """Accept the strings that match `pattern` as a whole; say what is `wanted` of the others."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"`{value}`: must be {wanted}")
        return value

    return AfterValidator(check)


def _relative_path(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts or re.search(r"[\\:]", value):
        raise ValueError(f"`{value}`: must be a relative path with forward slashes and without `..`")
    return value


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Words = Annotated[
    str, _form(r"[^\s{}]|[^\s{}][^\n{}]*[^\s{}]", "words on one line, without braces or outer spaces")
]
Identifier = Annotated[str, _form(r"[a-z0-9][a-z0-9_-]*", "lower-case letters, digits, `_` and `-`")]
RelativePath = Annotated[str, AfterValidator(_relative_path)]
Url = Annotated[str, _form(r"https://\S+", "an https:// address")]
Md5 = Annotated[str, _form(r"[0-9a-f]{32}", "32 lower-case hexadecimal digits")]
Sha256 = Annotated[str, _form(r"[0-9a-f]{64}", "64 lower-case hexadecimal digits")]
Repository = Annotated[
    str,
    _form(
        r"(?!.*(\.\.|--))[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*", "owner/name, as on the hub"
    ),
]
Revision = Annotated[
    str, _form(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*", "a commit, a branch or a tag")
]
Column = Annotated[str, _form(r"\S|\S[^\n]*\S", "the name of a column")]
HubSplit = Annotated[str, _form(r"\w+(\.\w+)*", "the name of a split, without a slice")]
Index = Annotated[NonNegativeInt, Strict()]
Count = Annotated[PositiveInt, Strict()]
