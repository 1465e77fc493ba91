"""Write a study's figures for print: each as SVG and as PNG, the same bytes for the same results."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from harness.report.drawing import style
from harness.study.document import StudyError
from harness.study.figure_accuracy import accuracy_figure
from harness.study.figure_contrasts import contrast_figure
from harness.study.figure_health import health_figure
from harness.study.figure_layer_grid import layer_grid_figures
from leaderboard.compare.contrasts import FINE_TUNING, LAYER, MEDICAL, PROBE, REFERENCE, Contrast
from leaderboard.record.record import Record
from tasks.files import write_atomically

DPI = 200
FAMILIES = {
    FINE_TUNING: "fine-tuning",
    MEDICAL: "medical-and-base",
    REFERENCE: "model-and-reference",
    LAYER: "layer-choice",
    PROBE: "probe-and-answer",
}
_LONGEST = 100  # letters of a file's name, without its ending
_MOST_PIXELS = 60_000  # of one side, which Agg holds
_STEMS = "|".join(["accuracy", "health", *map(re.escape, FAMILIES.values()), r"layers-[A-Za-z0-9._-]+"])
_OWN = re.compile(
    rf"(?:{_STEMS})\.(?:svg|png)|\.(?:{_STEMS})\.(?:svg|png)\.\w+\.part"
)  # the second: half-written

_NAMES = re.compile(r"""(\bid="|href="#|url\(#)([a-zC][0-9a-f_]{10,})""")  # of clips, markers and paths


def write_figures(
    records: Sequence[Record], contrasts: Sequence[Contrast], readouts: Sequence[str], folder: Path
) -> tuple[Path, ...]:
    """Write every figure that has something to show, remove those of before, and return the paths.

    Nothing else in the folder is touched.

    Raises:
        StudyError: the folder cannot be written.
    """
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stem, figure in _figures(records, contrasts, readouts):
            for ending, content in (("svg", to_svg(figure)), ("png", to_png(figure))):
                path = folder / f"{stem}.{ending}"
                write_atomically(path, content)
                written.append(path)
        _remove_old(folder, {path.name for path in written})
    except OSError as error:
        raise StudyError(
            f"{folder}: figures cannot be written ({error.strerror}); choose another --output"
        ) from error
    return tuple(written)


def _figures(
    records: Sequence[Record], contrasts: Sequence[Contrast], readouts: Sequence[str]
) -> Iterator[tuple[str, Figure]]:
    """Yield every figure under its file's name, one by one: many at once would take much memory."""
    taken: set[str] = set()
    for stem, figure in (("accuracy", accuracy_figure(records)), ("health", health_figure(records))):
        if figure is not None:
            yield stem, figure
    for readout in dict.fromkeys(readouts):
        for task, figure in layer_grid_figures(records, readout).items():
            yield file_stem(f"layers-{task}-{readout}", taken), figure
    for family, stem in FAMILIES.items():
        figure = contrast_figure(contrasts, family)
        if figure is not None:
            yield stem, figure


def file_stem(name: str, taken: set[str]) -> str:
    """Return a file's name of letters, digits, '-', '_' and '.', and add it to those that are taken.

    Two names that differ only in other signs, or in upper and lower case, get different files.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:_LONGEST]
    stem, number = plain, 1
    while stem.lower() in taken:
        number += 1
        stem = f"{plain}-{number}"
    taken.add(stem.lower())
    return stem


def to_svg(figure: Figure) -> str:
    """Return a figure as SVG, its text as text."""
    stream = io.StringIO()
    with style():
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})
    return _numbered(stream.getvalue())


def _numbered(text: str) -> str:
    """Name what an SVG refers to by its order: the library's names hash positions to their last digit, which the
    layout does not settle the same in every process.
    """
    names: dict[str, str] = {}
    return _NAMES.sub(lambda found: found[1] + names.setdefault(found[2], f"n{len(names)}"), text)


def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG with 200 dots an inch, less where it would be too large."""
    stream = io.BytesIO()
    with style():
        figure.set_dpi(min(DPI, _MOST_PIXELS / max(figure.get_size_inches())))
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


def _remove_old(folder: Path, written: Collection[str]) -> None:
    for path in sorted(folder.iterdir()):
        if path.name not in written and _OWN.fullmatch(path.name) and path.is_file():
            path.unlink()
