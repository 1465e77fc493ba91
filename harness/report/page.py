"""One self-contained HTML page of one or more results: no outside request, every string escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.report import citation, pair, view
from harness.report.hardest import Hardest, hardest
from harness.report.pair import Comparison, compare
from harness.report.pictures import Pictures, read_pictures
from harness.report.result import Result, read_result
from leaderboard.figures import bars, intervals, layers
from leaderboard.figures.svg import Figure
from leaderboard.figures.waterfall import waterfall_figure
from leaderboard.page import environment
from leaderboard.record.record import Record


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
    waterfall: Figure | None = field(repr=False)
    layers: tuple[tuple[str, Figure | None], ...] = field(repr=False)
    health: Figure | None = field(repr=False)
    spread: Figure | None = field(repr=False)
    reliability: Figure | None = field(repr=False)
    answer_target: Figure | None = field(repr=False)


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
    records = [result.record for result in results] if compared else []
    shown = [
        _shown(result, f"r{place}", held, records)
        for place, (result, held) in enumerate(zip(results, pictures, strict=True))
    ]
    return environment.render(
        "harness.report",
        "report",
        results=shown,
        sections=SECTIONS,
        comparison=compared,
        overlaid=_overlaid(results, compared),
        pictures=pictures[0],
        most=pair.SHOWN,
        view=view,
        modules=intervals.modules,
        share_bar=bars.share_bar,
    )


def _shown(result: Result, key: str, pictures: Pictures, beside: Sequence[Record]) -> _Shown:
    record = result.record
    return _Shown(
        key=key,
        name=result.name,
        record=record,
        absent=view.absent(record),
        shown=_sections_of(record),
        hardest=hardest(result),
        pictures=pictures,
        citations=citation.citations(record),
        waterfall=waterfall_figure(record),
        layers=tuple((name, layers.layer_figure(record, name)) for name in layers.readouts(record)),
        health=intervals.health_figure(record, beside),
        spread=intervals.spread_figure(record),
        reliability=bars.reliability_figure(record.answers),
        answer_target=layers.answer_target_figure(record.answer_target),
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


def _overlaid(results: Sequence[Result], compared: Comparison | None) -> list[tuple[str, Figure]]:
    """Return the layer curves of two results in one figure, by readout; none of results of different tasks."""
    if compared is None or results[0].record.task.classes != results[1].record.task.classes:
        return []
    records, names = (results[0].record, results[1].record), (results[0].name, results[1].name)
    both = [name for name in layers.readouts(records[0]) if name in layers.readouts(records[1])]
    return [(name, layers.pair_figure(records, names, name)) for name in both]


def _pictures(result: Result, compared: Comparison | None, data_dir: Path | None) -> Pictures:
    """Read the pictures of every image that is shown of a result."""
    lines = [one.line for one in hardest(result).images]
    if compared is not None:
        lines += [one.first.line for one in (*compared.only_first, *compared.only_second)]
    return read_pictures(result.record, lines, data_dir)
