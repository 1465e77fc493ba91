"""The sections of the benchmark page, and how numbers are written."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from timing import Spread

_PACKAGES = ("torch", "transformers", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Section:
    """One comparison: what was done, its table, and what it says."""

    title: str
    about: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    reading: tuple[str, ...]
    share_of_core: float | None = None  # processor time over wall time while it was measured


def number(spread: Spread, decimals: int = 2) -> str:
    """Write a median and its range, for example `1.02 (1.01–1.04)`."""
    return f"{spread.median:.{decimals}f} ({spread.low:.{decimals}f}–{spread.high:.{decimals}f})"


def percent(ratio: Spread) -> str:
    """Write a ratio near 1 as what it adds, for example `2.1% (1.0% to 3.4%)`."""
    median, low, high = (100 * (value - 1) for value in (ratio.median, ratio.low, ratio.high))
    return f"{median:.1f}% ({low:.1f}% to {high:.1f}%)"


def times(count: int, thing: str) -> str:
    """Write how many there are, for example `1 repetition`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def page(sections: Sequence[Section], *, quick: bool) -> str:
    """Write the page in Markdown."""
    flag = " --quick" if quick else ""
    lines = ["# Benchmarks", ""]
    if quick:
        lines += [
            "**A quick run on a few images, to see that the benchmark works: its figures mean little.**",
            "",
        ]
    lines += [
        f"Made on {datetime.now(UTC).date()} by `make bench` (`python tools/bench/run.py{flag}`) on "
        f"{_machine()}.",
        "",
        "All ratios come from one run. The ways compared take turns, batch by batch where they work on "
        "images, in one process with one thread. Times are processor time, which on an idle machine is "
        "wall time; the last section is wall time. Given are medians of the repetitions, with the "
        "smallest and the largest in brackets. The model is the built-in one, in single precision. "
        "Absolute rates belong to this machine and this tiny model; ratios may differ on a large model, "
        "on a GPU and on longer prompts.",
        "",
    ]
    for section in sections:
        lines += [*_section(section), ""]
    shares = [section.share_of_core for section in sections if section.share_of_core is not None]
    if shares:
        lines += [
            f"While this was measured, the process had between {100 * min(shares):.0f}% and "
            f"{100 * max(shares):.0f}% of a core to itself. Far below 100% the machine was busy, and the "
            "caches were shared: measure again when it is idle."
        ]
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Section) -> list[str]:
    rule = ["---", *["---:"] * (len(section.header) - 1)]
    table = [f"| {' | '.join(cells)} |" for cells in (section.header, rule, *section.rows)]
    reading = [f"- {sentence}" for sentence in section.reading]
    return [f"## {section.title}", "", section.about, "", *table, "", *reading]


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{cores} core{'s' if cores != 1 else ''} ({platform.system()}, {platform.machine()}), "
        f"Python {platform.python_version()}, {packages}"
    )
