"""How loading tells what it is doing; `harness.console.Console.step` is one such way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harness.console import Advance


class Step(Protocol):
    """Open a step of known length; what it yields is called with how much more is done."""

    def __call__(self, title: str, total: int, unit: str = "images") -> AbstractContextManager[Advance]:
        """Show the step while its block runs."""
        ...


@contextmanager
def silent(title: str, total: int, unit: str = "images") -> Iterator[Advance]:
    """Show nothing."""
    yield lambda count=1: None
