"""The tables of a study, each as CSV for machines and as Markdown for people; the same for the same results."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.study.cells import Cell
from leaderboard.compare.contrasts import Contrast
from leaderboard.compare.measured import Measured
from leaderboard.record.parts import Interval
from leaderboard.record.record import ModuleHealthPart
from tasks.files import write_atomically

Value = str | int | float | bool | None
_ESCAPED = str.maketrans({sign: f"\\{sign}" for sign in "\\|`*_<>[]#"} | {"\n": " ", "\r": " "})


@dataclass(frozen=True)
class Table:
    """Rows under headings; a value that was not measured is None."""

    name: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


def cell_table(results: Sequence[tuple[Cell, Measured]]) -> Table:
    """Return a row for every result: answers, health and verdict. Shares, not percent."""
    rows = [_cell_row(cell, measured) for cell, measured in results]
    headings = (
        *(
            "model",
            "task",
            "task_version",
            "condition",
            "role",
            "status",
            "official_data",
            "seen_in_training",
        ),
        *("n_train", "n_val", "n_test", "headline_source"),
        *_with_ends("accuracy"),
        *_with_ends("balanced_accuracy"),
        *_with_ends("macro_f1"),
        *_with_ends("auroc"),
        *("majority_accuracy", "readout"),
        *(name for part in ("vision", "connector", "llm") for name in _health_headings(part)),
        *("verdict", "reason", "tuned_images", "probes_saw_tuned_images"),
    )
    return Table("cells", headings, tuple(rows))


def layer_table(results: Sequence[tuple[Cell, Measured]]) -> Table:
    """Return a row for every probed site and readout."""
    rows = [
        (
            *(cell.model, cell.task, cell.condition, probe.readout, probe.site, probe.module, probe.layer),
            *(probe.pool, probe.consumed),
            *_ends(probe.accuracy),
            *_ends(probe.balanced_accuracy),
            *_ends(probe.auroc),
            probe.permutation_p,
        )
        for cell, measured in results
        for probe in measured.record.probes
    ]
    headings = (
        *("model", "task", "condition", "readout", "site", "module", "layer", "pool", "consumed"),
        *_with_ends("accuracy"),
        *_with_ends("balanced_accuracy"),
        *_with_ends("auroc"),
        "permutation_p",
    )
    return Table("layers", headings, tuple(rows))


def contrast_table(contrasts: Sequence[Contrast]) -> Table:
    """Return a row for every paired comparison, with the p value before and after Holm's correction."""
    headings = (
        *("question", "task", "model", "first", "second", "metric"),
        *_with_ends("first_value"),
        *_with_ends("second_value"),
        *_with_ends("difference"),
        *("n", "test", "p", "p_holm", "conclusion"),
    )
    rows = [
        (
            *(c.family, c.task, c.model, c.first, c.second, c.metric),
            *_ends(c.first_value),
            *_ends(c.second_value),
            *(c.value, c.low, c.high, c.n, c.test, c.p, c.p_adjusted, c.conclusion),
        )
        for c in contrasts
    ]
    return Table("contrasts", headings, tuple(rows))


def hole_table(cells: Iterable[Cell]) -> Table:
    """Return a row for every cell without a result, and why."""
    rows = [
        (cell.model, cell.task, cell.condition, cell.state, cell.reason)
        for cell in cells
        if cell.state != "done"
    ]
    return Table("holes", ("model", "task", "condition", "state", "reason"), tuple(rows))


def write_table(table: Table, folder: Path) -> None:
    """Write `<folder>/<name>.csv` and `.md`."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.headings)
    writer.writerows([_plain(value) for value in row] for row in table.rows)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{table.name}.csv", stream.getvalue())
    write_atomically(folder / f"{table.name}.md", markdown(table))


def markdown(table: Table) -> str:
    """Return a table as Markdown, numbers to three places."""
    lines = [table.headings, ("---",) * len(table.headings)]
    lines += [tuple(_shown(value) for value in row) for row in table.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, within one cell."""
    return text.translate(_ESCAPED)


def _cell_row(cell: Cell, measured: Measured) -> tuple[Value, ...]:
    record = measured.record
    answers, health, found, tuning = record.answers, record.health, record.diagnosis, record.tuning
    modules = (None,) * 3 if health is None else (health.vision, health.connector, health.llm)
    return (
        *(cell.model, cell.task, record.task.version, cell.condition, record.model.role, record.status),
        *(record.task.official_data, record.model.seen_in_training),
        *(record.task.n_train, record.task.n_val, record.task.n_test),
        None if answers is None else answers.headline_source,
        *_ends(None if answers is None else answers.accuracy),
        *_ends(None if answers is None else answers.balanced_accuracy),
        *_ends(None if answers is None else answers.macro_f1),
        *_ends(None if answers is None else answers.auroc),
        None if answers is None else answers.majority_accuracy,
        None if health is None else health.readout,
        *(value for module in modules for value in _health(module)),
        None if found is None else found.verdict,
        None if found is None else found.reason,
        None if tuning is None else tuning.n_tuning,
        None if tuning is None else tuning.n_shared,
    )


def _with_ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _ends(value: Interval | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if value is None else (value.value, value.low, value.high)


def _health_headings(part: str) -> tuple[str, ...]:
    return (*_with_ends(f"fhs_{part}"), f"fhs_{part}_noise", f"fhs_{part}_noise_limited")


def _health(module: ModuleHealthPart | None) -> tuple[Value, ...]:
    if module is None:
        return (None,) * 5
    return module.fhs, module.low, module.high, module.fhs_noise, module.noise_limited


def _plain(value: Value) -> Value:
    """Return a value as CSV holds it; text that a spreadsheet would take for a formula is marked as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return repr(round(value, 9))
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return f"'{value}"
    return value


def _shown(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else escape(str(value))
