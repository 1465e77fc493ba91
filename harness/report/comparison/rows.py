"""The rows of a comparison's two tables, for the terminal and for Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.comparison.outcome import Outcome
from harness.report.comparison.words import change_of, level_of, name_of, p_of, percent, verdict_of, visible

ACCURACY_HEADINGS = (
    "task",
    "baseline",
    "candidate",
    "images",
    "accuracy in %",
    "change in points (95%)",
    "p",
    "verdict",
    "visible drop",
)
SECONDARY_HEADINGS = ("task", "what", "baseline", "candidate", "change (95%)", "p", "better")


@dataclass(frozen=True)
class Row:
    """A row: first `names` from records, which may hold anything, then `cells` in our own words."""

    names: tuple[str, ...]
    cells: tuple[str, ...]
    stops: bool = False


def accuracy_rows(outcome: Outcome) -> list[Row]:
    """Return one row a task: what decides."""
    return [
        Row(
            (title, task.baseline.model, task.candidate.model),
            (
                str(task.images) if task.images == task.groups else f"{task.images} in {task.groups} groups",
                f"{percent(task.accuracy.baseline)} → {percent(task.accuracy.candidate)}",
                change_of(task.accuracy),
                p_of(task.decision.p_adjusted),
                verdict_of(task),
                visible(task),
            ),
            task.stops,
        )
        for title, task in outcome.tasks
    ]


def secondary_rows(outcome: Outcome) -> list[Row]:
    """Return one row a secondary change: where it changed."""
    return [
        Row(
            (title,),
            (
                name_of(change.name) + (" (noise-limited)" if change.noise_limited else ""),
                level_of(change.baseline, change.unit),
                level_of(change.candidate, change.unit),
                change_of(change),
                p_of(change.p_adjusted),
                change.better,
            ),
        )
        for title, task in outcome.tasks
        for change in task.secondary
    ]


def remarks(outcome: Outcome) -> list[tuple[str, str]]:
    """Return what else a reader should know, each with the title that it is about, or with none."""
    found = [("", note) for note in outcome.notes]
    if outcome.allow_missing:
        found += [
            (one.title, f"left out, since the {one.lacking} has no result of it") for one in outcome.missing
        ]
    for title, task in outcome.tasks:
        found += [(title, remark) for remark in task.remarks]
        for why in dict.fromkeys(one.reason for one in task.left_out):
            names = ", ".join(name_of(one.name) for one in task.left_out if one.reason == why)
            found.append((title, f"{names} not compared: {why}"))
    return found
