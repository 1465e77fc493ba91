"""A comparison as Markdown, as for the summary of a CI job.

What comes from records and paths stands as code, in which Markdown and HTML mean nothing and nobody is
mentioned.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.comparison.outcome import Outcome
from harness.report.comparison.rows import (
    ACCURACY_HEADINGS,
    SECONDARY_HEADINGS,
    Row,
    accuracy_rows,
    remarks,
    secondary_rows,
)
from harness.report.comparison.words import gate_sentence, name, reason


def as_markdown(outcome: Outcome) -> str:
    """Return the outcome as Markdown text."""
    found = outcome.comparison
    parts = [
        f"### harness compare: {found.verdict if found else 'not compared'}",
        f"{_code(name(outcome.candidate))} against {_code(name(outcome.baseline))}. "
        f"The gate {gate_sentence(outcome)} (exit code {outcome.gate_code}).",
        _list([_code(reason(obstacle)) for obstacle in outcome.obstacles]),
    ]
    if found:
        parts += [
            _table(ACCURACY_HEADINGS, accuracy_rows(outcome)),
            f"The test of accuracy decides, at level {outcome.thresholds.level:g} over all tasks (Holm). *Visible "
            "drop*: the true drop, in points, that these images would show as significant in 80% of cases.",
            "<details><summary>Where it changed</summary>",
            _table(SECONDARY_HEADINGS, secondary_rows(outcome)),
            "FHS is the Feature Health Score; drops are in chance-corrected accuracy, balanced accuracy in points; "
            "p is Holm's over all tests, accuracy included. None of this decides.",
            "</details>",
        ]
    parts.append(_list([_remark(title, text) for title, text in remarks(outcome)]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _code(line: str) -> str:
    """Return one line as code that may stand in a table cell.

    Parsers differ in what a backslash does to a bar there, so a line with either is written in entities.
    """
    if line.strip() and not set(line) & set("|\\`"):
        return f"`{line}`"
    entities = (c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in line)
    return f"<code>{''.join(entities)}</code>"


def _remark(title: str, text: str) -> str:
    return f"{_code(name(title))}: {_code(reason(text))}" if title else _code(reason(text))


def _table(headings: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [headings, ["---"] * len(headings), *map(_cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(row: Row) -> list[str]:
    bold = "**" if row.stops else ""
    plain = [f"{bold}{cell.replace('<', '&lt;')}{bold}" for cell in row.cells]
    return [*(_code(name(text)) for text in row.names), *plain]


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
