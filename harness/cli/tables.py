"""Tables for people: the plan before a sweep, and the results after it, on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.console import print_table
from leaderboard import words as words
from leaderboard.record.parts import Interval
from leaderboard.record.record import Record

if TYPE_CHECKING:
    from harness.plan.plan import Plan
    from harness.run.sweep import SweepOutcome

_BARS = "▁▂▃▄▅▆▇█"
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


def result_table(outcome: SweepOutcome) -> None:
    """Print what every finished run measured, and what failed."""
    rows = [_result_row(record) for _, record in outcome.records]
    headings = (
        "model",
        "task",
        "accuracy",
        "majority",
        "free text",
        "letters",
        "V > C > L > answer",
        "layers",
        "verdict",
    )
    if rows:
        print_table("Results (accuracy in %, 95% interval)", headings, rows)
    marks = [f"{planned.title}: failed: {reason}" for planned, reason in outcome.failures]
    if len(outcome.skipped) <= _LISTED_AGAIN:
        marks += [f"{planned.title}: skipped: {planned.reason}" for planned in outcome.skipped]
    else:
        marks.append(f"{len(outcome.skipped)} runs were skipped; the plan above says why")
    if marks:
        sys.stdout.write("\n".join(marks) + "\n")
    if any(not record.task.official_data for _, record in outcome.records):
        sys.stdout.write("* not byte for byte the published data: not comparable with published numbers\n")
    if any(record.model.seen_in_training for _, record in outcome.records):
        sys.stdout.write("+ images of this task are known to be among those that the model was trained on\n")
    for _, record in outcome.records:
        if (usage := record.cost.usage) is not None:
            sys.stdout.write(f"{record.model.name} on {record.task.name}: {words.usage(usage)}\n")
    sys.stdout.flush()


def _result_row(record: Record) -> tuple[str, ...]:
    task = record.task.name + ("" if record.task.official_data else " *")
    if record.status != "complete":
        task += f" ({record.status})"
    answers = record.answers
    if record.model.seen_in_training:
        task += " +"
    if answers is None:
        return (record.full_name, task, *["-"] * 7)
    return (
        record.full_name,
        task,
        f"{_percent(answers.accuracy)} ({100 * answers.accuracy.low:.0f}-{100 * answers.accuracy.high:.0f})",
        f"{100 * answers.majority_accuracy:.1f}",
        _percent(answers.generated_accuracy),
        _percent(answers.letters_accuracy),
        _profile(record),
        sparkline(layer_accuracies(record)),
        verdict_cell(record),
    )


def _profile(record: Record) -> str:
    if record.health is not None:
        return " > ".join(f"{value:.2f}" for value in record.health.profile)
    return "reference" if record.model.role == "reference" else "not watched"


def verdict_cell(record: Record) -> str:
    """Say the verdict, and the drop that it names, or the largest one, in points of accuracy."""
    found = record.diagnosis
    if found is None:
        return "-"
    if not found.drops:
        return found.verdict
    named = [drop for drop in found.drops if drop.mode == found.verdict]
    drop = named[0] if named else max(found.drops, key=lambda d: d.value)
    where = "" if named else f"{drop.mode} "
    return f"{found.verdict} ({where}{-drop.points:+.1f})"


def _percent(value: Interval | None) -> str:
    return "-" if value is None else f"{100 * value.value:.1f}"


def layer_accuracies(record: Record) -> list[float]:
    """Return the probes' accuracies along the model: vision, connector, then the last prompt token."""
    if record.health is None:
        return []
    pools = {"vision": "mean", "connector": "mean", "llm": record.health.llm.pool}
    chosen = [p for p in record.probes if p.readout == record.health.readout and p.pool == pools[p.module]]
    order = {"vision": 0, "connector": 1, "llm": 2}
    return [p.accuracy.value for p in sorted(chosen, key=lambda p: (order[p.module], p.layer))]


def sparkline(shares: Sequence[float]) -> str:
    """Draw shares between 0 and 1 as one line of bars; the full bar is 1."""
    return "".join(_BARS[min(max(int(share * len(_BARS)), 0), len(_BARS) - 1)] for share in shares)
