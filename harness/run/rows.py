"""How results are put into a table, whoever shows it."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard import words
from leaderboard.record.parts import Interval
from leaderboard.record.record import Record

TITLE = "Results (accuracy in %, 95% interval)"
HEADINGS = (
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
_BARS = "▁▂▃▄▅▆▇█"


def result_row(record: Record) -> tuple[str, ...]:
    """Return what a result measured, a cell for each of `HEADINGS`."""
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


def footnotes(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the lines that explain the marks of a table, and say what a server was asked for."""
    found = []
    if any(not record.task.official_data for record in records):
        found.append("* not byte for byte the published data: not comparable with published numbers")
    if any(record.model.seen_in_training for record in records):
        found.append("+ images of this task are known to be among those that the model was trained on")
    for record in records:
        if (usage := record.cost.usage) is not None:
            found.append(f"{record.model.name} on {record.task.name}: {words.usage(usage)}")
    return tuple(found)


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


def _profile(record: Record) -> str:
    if record.health is not None:
        return " > ".join(f"{value:.2f}" for value in record.health.profile)
    return "reference" if record.model.role == "reference" else "not watched"


def _percent(value: Interval | None) -> str:
    return "-" if value is None else f"{100 * value.value:.1f}"
