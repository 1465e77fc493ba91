"""What a person sees: messages and progress of a run on stderr, tables on stdout, in notebooks and as frames.

Bars and colour appear only where stdout and stderr are terminals and NO_COLOR is not set.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas
    from rich.progress import Progress

QUIET_SECONDS = 20.0  # between two progress lines where there is no terminal


class Advance(Protocol):
    """Tell how many more images (or fits) are done."""

    def __call__(self, count: int = 1) -> None:
        """Add `count` to what is done."""
        ...


def is_terminal() -> bool:
    """Tell whether bars and colour are welcome."""
    return sys.stdout.isatty() and sys.stderr.isatty() and "NO_COLOR" not in os.environ


class Console:
    """Messages, progress and the log file of a run; a quiet one writes the log alone."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._log: Path | None = None
        self._progress: Progress | None = None

    def say(self, message: str) -> None:
        """Print a message to stderr and to the log."""
        if self._quiet:
            pass
        elif self._progress is not None:
            self._progress.console.print(message, markup=False, highlight=False, soft_wrap=True)
        else:
            print(message, file=sys.stderr, flush=True)
        self.log(message)

    def log(self, message: str) -> None:
        """Append a message to the run's log alone."""
        if self._log is not None:
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            with self._log.open("a", encoding="utf-8") as stream:
                stream.write(f"{stamp} {message}\n")

    @contextmanager
    def logging_to(self, path: Path) -> Iterator[None]:
        """Keep a log of what is said in this block."""
        before, self._log = self._log, path
        try:
            yield
        finally:
            self._log = before

    @contextmanager
    def step(self, title: str, total: int, unit: str = "images") -> Iterator[Advance]:
        """Show a step of known length with its progress and the time left."""
        started = time.monotonic()
        counter = _Counter(title, total, unit)
        if self._quiet:
            yield counter
        elif is_terminal():
            with self._bar(title, total, unit) as advance:
                yield _both(counter, advance)
        else:
            counter.spoken = True
            yield counter
        self.log(f"{title}: {counter.done} {unit} in {time.monotonic() - started:.1f} s")

    @contextmanager
    def _bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns: list[Any] = [
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
            TextColumn("left"),
        ]
        with Progress(*columns, console=RichConsole(stderr=True), transient=True) as progress:
            self._progress = progress
            try:
                task = progress.add_task(title, total=total)
                yield lambda count=1: progress.advance(task, count)
            finally:
                self._progress = None


class _Counter:
    """Counts, and where there is no terminal says so every now and then."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = 0
        self.spoken = False
        self._started = self._last = time.monotonic()

    def __call__(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if self.spoken and now - self._last >= QUIET_SECONDS and 0 < self.done < self.total:
            left = (now - self._started) / self.done * (self.total - self.done)
            print(
                f"{self.title}: {self.done} of {self.total} {self.unit}, about {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
            self._last = now


def _both(first: Advance, second: Advance) -> Advance:
    def advance(count: int = 1) -> None:
        first(count)
        second(count)

    return advance


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: ruled and coloured on a terminal, plain aligned text elsewhere."""
    if is_terminal():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, title_justify="left")
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    sys.stdout.write(plain_table(title, headings, rows) + "\n\n")
    sys.stdout.flush()


def plain_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as aligned text."""
    widths = [max(len(line[i]) for line in [headings, *rows]) for i in range(len(headings))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in [headings, *rows])
    return "\n".join(line.rstrip() for line in (title, *lines))


def html_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as HTML for a notebook, every cell escaped."""
    head, *body = (
        f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in line)}</tr>"
        for tag, line in (("th", headings), *(("td", row) for row in rows))
    )
    return f"<table><caption>{escape(title)}</caption><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"


def html_lines(lines: Sequence[str]) -> str:
    """Return lines as HTML paragraphs, escaped."""
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def data_frame(rows: Sequence[Mapping[str, object]]) -> pandas.DataFrame:
    """Return rows as a frame of pandas.

    Raises:
        ModuleNotFoundError: pandas is not installed; the message says how to get it.
    """
    try:
        import pandas
    except ModuleNotFoundError:
        message = "pandas is not installed: pip install 'mllm-harness[pandas]'"
        raise ModuleNotFoundError(message, name="pandas") from None
    return pandas.DataFrame(rows)
