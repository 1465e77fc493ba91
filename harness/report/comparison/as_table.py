"""A comparison as tables for people, on stdout."""

from __future__ import annotations

from harness.console import print_table
from harness.report.comparison.outcome import Outcome
from harness.report.comparison.rows import (
    ACCURACY_HEADINGS,
    SECONDARY_HEADINGS,
    Row,
    accuracy_rows,
    secondary_rows,
)
from harness.report.comparison.words import name


def print_comparison(outcome: Outcome) -> None:
    """Print what decides, then where it changed."""
    level = outcome.thresholds.level
    print_table(
        f"Accuracy, which decides (p is Holm's over tasks, level {level:g})",
        ACCURACY_HEADINGS,
        [_cells(row) for row in accuracy_rows(outcome)],
    )
    print_table(
        "Where it changed, which decides nothing (p is Holm's over all tests)",
        SECONDARY_HEADINGS,
        [_cells(row) for row in secondary_rows(outcome)],
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (*map(name, row.names), *row.cells)
