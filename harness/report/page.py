"""One self-contained HTML page of one or more results: no outside request, every string escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from harness.report import drawing, figure_answers, view, wording
from harness.report.drawing import Drawing
from harness.report.figure_layers import layer_drawing
from harness.report.figure_waterfall import waterfall_drawing
from leaderboard.record import Record, read_record

_TEMPLATES = resources.files("harness.report").joinpath("templates")


@dataclass(frozen=True)
class Picture:
    """A drawing as SVG text for a wide page and for a phone; the style sheet shows one of them."""

    title: str
    wide: Markup
    narrow: Markup


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
    results = [_result(record, f"r{place}") for place, record in enumerate(records)]
    return _environment().get_template("report.html").render(results=results)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _TEMPLATES.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": wording.percent,
        "interval": wording.interval,
        "points": wording.points,
        "number": wording.number,
        "p": wording.p_value,
    }
    environment.globals |= {"view": view, "wording": wording}
    return environment


def _result(record: Record, prefix: str) -> dict[str, object]:
    readouts = list(dict.fromkeys(probe.readout for probe in record.probes))
    return {
        "key": prefix,
        "record": record,
        "absent": wording.absent(record),
        "waterfall": _picture(waterfall_drawing(record), prefix),
        "layers": [
            (readout, _picture(layer_drawing(record, readout), f"{prefix}-{place}"))
            for place, readout in enumerate(readouts)
        ],
        "spread": _picture(figure_answers.spread_drawing(record), prefix),
        "reliability": _picture(figure_answers.reliability_drawing(record.answers), prefix),
        "answer_target": _picture(figure_answers.answer_target_drawing(record.answer_target), prefix),
    }


def _picture(found: Drawing | None, prefix: str) -> Picture | None:
    if found is None:
        return None
    # Drawn here and escaped there, so it goes into the page as it is.
    wide, narrow = (
        Markup(drawing.svg(found, width, f"{prefix}-{found.name}-{name}"))
        for width, name in ((drawing.WIDE, "wide"), (drawing.NARROW, "narrow"))
    )
    return Picture(found.title, wide, narrow)
