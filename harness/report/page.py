"""One self-contained HTML page of one or more results: no outside request, every string escaped."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from harness.report.figures import layer_curve
from leaderboard.record import Interval, Record, read_record


def write_report(folders: Sequence[Path], output: Path) -> Path:
    """Write the report of these result folders to `output` and return it.

    Raises:
        RecordError: a folder holds no valid record.
    """
    from harness.store import write_atomically

    records = [read_record(folder / "record.json") for folder in folders]
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, render(records))
    return output


def render(records: Sequence[Record]) -> str:
    """Return the page as HTML text."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = percent
    environment.filters["interval"] = interval
    template = resources.files("harness.report").joinpath("templates/report.html").read_text(encoding="utf-8")
    figures: list[list[dict[str, Any]]] = [
        [
            {"readout": readout, "svg": Markup(layer_curve(record, readout))}  # drawn here, not taken in
            for readout in dict.fromkeys(p.readout for p in record.probes)
        ]
        for record in records
    ]
    return environment.from_string(template).render(results=list(zip(records, figures, strict=True)))


def percent(value: float | None) -> str:
    """Write a share as a percentage with one decimal."""
    return "not measured" if value is None else f"{100 * value:.1f}%"


def interval(value: Interval | None) -> str:
    """Write a measured share with its 95% interval."""
    if value is None:
        return "not measured"
    return f"{100 * value.value:.1f}% ({100 * value.low:.1f} to {100 * value.high:.1f})"
