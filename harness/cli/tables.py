"""Tables for people: the plan before a sweep, and the results after it, on stdout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from harness.console import print_table
from harness.run.rows import HEADINGS, TITLE, footnotes, result_row

if TYPE_CHECKING:
    from harness.plan.plan import Plan
    from harness.run.results import Results

_LISTED_AGAIN = 5  # runs that were skipped, after the results; the plan lists all


def plan_table(plan: Plan) -> None:
    """Print what will run, and what will not and why."""
    rows = [
        (
            run.card.name,
            run.task.id,
            "runs" if run.reason is None else "cannot run" if run.named else "skipped",
            run.reason or str(run.folder),
        )
        for run in plan.runs
    ]
    print_table("Plan", ("model", "task", "state", "folder or reason"), rows)


def result_table(results: Results) -> None:
    """Print what every finished run measured, and what failed."""
    records = [result.record for result in results]
    if records:
        print_table(TITLE, HEADINGS, [result_row(record) for record in records])
    marks = [f"{run.title}: failed: {run.reason}" for run in results.failures]
    if len(results.skipped) <= _LISTED_AGAIN:
        marks += [f"{run.title}: skipped: {run.reason}" for run in results.skipped]
    else:
        marks.append(f"{len(results.skipped)} runs were skipped; the plan above says why")
    sys.stdout.write("".join(f"{line}\n" for line in (*marks, *footnotes(records))))
    sys.stdout.flush()
