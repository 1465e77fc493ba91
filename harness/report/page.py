"""One self-contained HTML page of one or more results: no outside request, every string escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from harness.report import citation, drawing, figure_answers, figure_pair, pair, view, wording
from harness.report.drawing import Drawing
from harness.report.figure_health import health_drawing, modules
from harness.report.figure_layers import layer_drawing
from harness.report.figure_waterfall import waterfall_drawing
from harness.report.hardest import Hardest, hardest
from harness.report.pair import Comparison, compare
from harness.report.pictures import Pictures, read_pictures
from harness.report.result import Result, read_result
from leaderboard.record.record import Record

_TEMPLATES = resources.files("harness.report").joinpath("templates")


@dataclass(frozen=True)
class Picture:
    """A drawing as SVG text for a wide page and for a phone; the style sheet shows one of them."""

    title: str
    wide: Markup
    narrow: Markup


@dataclass(frozen=True)
class Section:
    """A part of a result's page; `key` names its template too."""

    key: str
    title: str


SECTIONS = (
    Section("waterfall", "Where the signal is lost"),
    Section("layers", "Layer by layer"),
    Section("health", "Feature health"),
    Section("causal", "What do the answers depend on?"),
    Section("asking", "Does the way of asking matter?"),
    Section("answers", "How good are the answers?"),
    Section("hardest", "Hardest images"),
    Section("checks", "Further checks"),
    Section("cost", "Cost"),
    Section("provenance", "Provenance"),
    Section("cite", "How to cite"),
)


@dataclass(frozen=True)
class Written:
    """A report that was written, and why pictures that were asked for are not in it, by the model's name."""

    path: Path
    without_pictures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Shown:
    """A result as the templates take it: its record, figures, images, and the sections that it has."""

    key: str
    name: str
    record: Record
    absent: dict[str, str]
    shown: frozenset[str]
    hardest: Hardest
    pictures: Pictures
    citations: tuple[citation.Citation, ...]
    waterfall: Picture | None = field(repr=False)
    layers: tuple[tuple[str, Picture | None], ...] = field(repr=False)
    health: Picture | None = field(repr=False)
    spread: Picture | None = field(repr=False)
    reliability: Picture | None = field(repr=False)
    answer_target: Picture | None = field(repr=False)


def write_report(
    folders: Sequence[Path], output: Path, *, images: bool = False, data_dir: Path | None = None
) -> Written:
    """Write the report of these result folders to `output`; two are shown side by side.

    Args:
        folders: of the results.
        output: the file to write.
        images: show the pixels of single test images, where the task allows it.
        data_dir: where their data lie; looked for in the usual places otherwise.

    Raises:
        RecordError: a folder holds no valid result.
        DataError: images were asked for and a task's data cannot be found or read.
    """
    from tasks.files import write_atomically

    results = [read_result(folder) for folder in folders]
    compared = _compared(results)
    found = [_pictures(result, compared, data_dir) if images else Pictures() for result in results]
    write_atomically(output, _rendered(results, found, compared))
    missing = tuple((r.name, p.reason) for r, p in zip(results, found, strict=True) if images and p.reason)
    return Written(output, missing)


def render(results: Sequence[Result], pictures: Sequence[Pictures] = ()) -> str:
    """Return the page as HTML text.

    Args:
        results: what is shown; two are shown side by side.
        pictures: of each result's images; none by default.
    """
    return _rendered(results, pictures or [Pictures()] * len(results), _compared(results))


def _compared(results: Sequence[Result]) -> Comparison | None:
    """Compare results that are shown side by side: two, no more."""
    return compare(*results) if len(results) == 2 else None


def _rendered(results: Sequence[Result], pictures: Sequence[Pictures], compared: Comparison | None) -> str:
    widths = (drawing.COLUMN if compared else drawing.WIDE, drawing.NARROW)
    records = [result.record for result in results] if compared else []
    shown = [
        _shown(result, f"r{place}", held, widths, records)
        for place, (result, held) in enumerate(zip(results, pictures, strict=True))
    ]
    template = _environment().get_template("report.html")
    return template.render(
        results=shown,
        sections=SECTIONS,
        comparison=compared,
        overlaid=_overlaid(results, compared),
        pictures=pictures[0],
        most=pair.SHOWN,
    )


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
    environment.globals |= {"view": view, "wording": wording, "modules": modules}
    return environment


def _shown(
    result: Result, prefix: str, pictures: Pictures, widths: tuple[float, float], beside: Sequence[Record]
) -> _Shown:
    def picture(found: Drawing | None, name: str = prefix) -> Picture | None:
        return None if found is None else _picture(found, name, widths)

    record = result.record
    readouts = list(dict.fromkeys(probe.readout for probe in record.probes))
    return _Shown(
        key=prefix,
        name=result.name,
        record=record,
        absent=wording.absent(record),
        shown=_sections_of(record),
        hardest=hardest(result),
        pictures=pictures,
        citations=citation.citations(record),
        waterfall=picture(waterfall_drawing(record)),
        layers=tuple(
            (readout, picture(layer_drawing(record, readout), f"{prefix}-{place}"))
            for place, readout in enumerate(readouts)
        ),
        health=picture(health_drawing(record, beside)),
        spread=picture(figure_answers.spread_drawing(record)),
        reliability=picture(figure_answers.reliability_drawing(record.answers)),
        answer_target=picture(figure_answers.answer_target_drawing(record.answer_target)),
    )


def _sections_of(record: Record) -> frozenset[str]:
    """Return the keys of the sections that a record has something for, if only a word on what is missing."""
    without = set()
    if record.diagnosis is None:
        without.add("waterfall")
    if record.causal is None and record.causal_detail is None:
        without.add("causal")
    if record.answers is None:
        without.add("asking")
    return frozenset(section.key for section in SECTIONS if section.key not in without)


def _overlaid(results: Sequence[Result], compared: Comparison | None) -> list[tuple[str, Picture]]:
    """Return the layer curves of two results in one figure, by readout; none of results of different tasks."""
    if compared is None or results[0].record.task.classes != results[1].record.task.classes:
        return []
    records = (results[0].record, results[1].record)
    names = (results[0].name, results[1].name)
    widths = (drawing.WIDE, drawing.NARROW)
    return [
        (readout, _picture(figure_pair.pair_drawing(records, names, readout), f"pair-{place}", widths))
        for place, readout in enumerate(figure_pair.readouts(*records))
    ]


def _picture(found: Drawing, prefix: str, widths: tuple[float, float]) -> Picture:
    # Drawn here and escaped there, so it goes into the page as it is.
    wide, narrow = (
        Markup(drawing.svg(found, width, f"{prefix}-{found.name}-{name}"))
        for width, name in zip(widths, ("wide", "narrow"), strict=True)
    )
    return Picture(found.title, wide, narrow)


def _pictures(result: Result, compared: Comparison | None, data_dir: Path | None) -> Pictures:
    """Read the pictures of every image that is shown of a result."""
    lines = [one.line for one in hardest(result).images]
    if compared is not None:
        lines += [one.first.line for one in (*compared.only_first, *compared.only_second)]
    return read_pictures(result.record, lines, data_dir)
