"""The page of a study: `study.md`, what a person reads first, with its tables, figures and holes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from harness.study.cells import Cell
from harness.study.comparisons import Comparisons
from harness.study.document import Study
from harness.study.tables import escape
from leaderboard.compare.contrasts import Contrast
from leaderboard.compare.measured import Measured
from leaderboard.figures.png import NO_FONTS
from leaderboard.words import interval, p_value, points
from tasks.files import write_atomically

FILE = "study.md"
_HOW = """\
All intervals are 95%. Comparisons are paired, image by image, on the same test images. Where every image is a
group of its own and both sides are right or wrong, the test is the exact one of McNemar, else the two-sided
paired bootstrap of whole groups (patients, near-duplicates). p is corrected after Holm over all comparisons of
one question. **undetermined** means that these data cannot say which of the two is higher, not that they are
equal. Layers are chosen on the validation images.
"""


def write_page(
    study: Study,
    cells: Sequence[Cell],
    results: Sequence[tuple[Cell, Measured]],
    compared: Comparisons,
    figures: Iterable[Path],
    output: Path,
) -> Path:
    """Write `<output>/study.md` and return its path. The same results give the same page."""
    parts = [
        f"# {escape(study.title)}\n",
        f"{study.description.strip()}\n" if study.description else "",
        f"{len(results)} of {len(cells)} cells have a result.\n",
        "## Answers and verdicts\n",
        *_answers(results),
        "## Comparisons\n",
        _HOW,
        *_comparisons(compared.contrasts),
        *(f"Not compared: {escape(reason)}\n" for reason in compared.refused),
        "## Holes\n",
        *_holes(cells),
        "## Figures\n",
        *_figures(figures, output),
        "## All numbers\n",
        "`cells`, `layers`, `contrasts` and `holes` in `tables/`, each as `.csv` and as `.md`.",
    ]
    path = output / FILE
    write_atomically(path, "\n".join(part for part in parts if part) + "\n")
    return path


def _answers(results: Sequence[tuple[Cell, Measured]]) -> Iterator[str]:
    if not results:
        yield "No cell has a result yet.\n"
    ordered = sorted(results, key=lambda pair: (pair[0].task, pair[0].reference))
    for task, group in groupby(ordered, key=lambda pair: pair[0].task):
        rows = list(group)
        record = rows[0][1].record
        kind = "" if record.task.official_data else ", not byte for byte the published data"
        yield f"### {escape(task)}: {record.task.n_test} test images, {len(record.task.classes)} classes{kind}\n"
        lines = [
            "| model | condition | accuracy | majority | FHS V, C, L | verdict |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_answer_row(cell, measured) for cell, measured in rows]
        yield "\n".join(lines) + "\n"


def _answer_row(cell: Cell, measured: Measured) -> str:
    record = measured.record
    answers, health, found = record.answers, record.health, record.diagnosis
    seen = " (task seen in training)" if record.model.seen_in_training else ""
    partial = "" if record.status == "complete" else f" ({record.status})"
    profile = (
        ""
        if health is None
        else ", ".join(
            f"{part.fhs:.2f}{'°' if part.noise_limited else ''}"
            for part in (health.vision, health.connector, health.llm)
        )
    )
    columns = (
        escape(cell.model) + seen + partial,
        "reference" if cell.reference else cell.condition,
        "" if answers is None else interval(answers.accuracy),
        "" if answers is None else f"{100 * answers.majority_accuracy:.1f}%",
        profile,
        "" if found is None else found.verdict,
    )
    return f"| {' | '.join(columns)} |"


def _comparisons(contrasts: Sequence[Contrast]) -> Iterator[str]:
    if not contrasts:
        yield "None: no two results can be compared yet.\n"
    for family, group in groupby(contrasts, key=lambda contrast: contrast.family):
        lines = [
            f"### {escape(family[:1].upper() + family[1:])}\n",
            "| task | model | first | second | difference in points | p (Holm) | the first is |",
            "|---|---|---|---|---|---|---|",
            *(_comparison_row(contrast) for contrast in group),
        ]
        yield "\n".join(lines) + "\n"


def _comparison_row(contrast: Contrast) -> str:
    columns = (
        escape(contrast.task),
        escape(contrast.model),
        f"{escape(contrast.first)}: {interval(contrast.first_value)}",
        f"{escape(contrast.second)}: {interval(contrast.second_value)}",
        f"{points(100 * contrast.value)} ({points(100 * contrast.low)} to {points(100 * contrast.high)})",
        p_value(contrast.p_adjusted),
        f"**{contrast.conclusion}**",
    )
    return f"| {' | '.join(columns)} |"


def _holes(cells: Sequence[Cell]) -> Iterator[str]:
    holes = [cell for cell in cells if cell.state != "done"]
    if not holes:
        yield "None: every cell has a result.\n"
        return
    lines = ["| model | task | condition | state | why |", "|---|---|---|---|---|"]
    lines += [
        f"| {escape(c.model)} | {escape(c.task)} | {c.condition} | {c.state} | {escape(c.reason or '')} |"
        for c in holes
    ]
    yield "\n".join(lines) + "\n"


def _figures(figures: Iterable[Path], output: Path) -> Iterator[str]:
    held = list(figures)
    pictures = [path for path in held if path.suffix == ".png"]
    if held and not pictures:
        yield f"Figures are SVG alone: {NO_FONTS}.\n"
    for path in pictures or held:
        yield f"![{path.stem}]({path.relative_to(output).as_posix()})\n"
