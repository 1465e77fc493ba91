"""What the figures of a study share: sizes for print, looks, names that fit, and the foot with legend and notes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from harness.report.drawing import BLUE, GREEN, VERMILLION
from leaderboard.record.record import Condition, Record

WIDTH = 7.2  # inches: the two columns of a journal's page
PAGE = 9.2  # inches: the height of its text
LIGHT = "#767676"  # text that steps back and can still be read on white
SMALL, TINY = 8.0, 7.0  # points of print

_BREAKS = "/-_. "  # a name is broken after one of these where it can be
_NOTE_LETTERS = 20  # of a note, an inch
_LINE = 0.13  # inches: a line of a note
_PAD = 0.06  # inches


@dataclass(frozen=True)
class Look:
    """How one kind of point is drawn, and its name in the legend."""

    colour: str
    marker: str
    label: str

    def handle(self, **changes: object) -> Line2D:
        """Return what stands in the legend."""
        look: dict[str, Any] = {"color": self.colour, "marker": self.marker, "markersize": 5}
        return Line2D([], [], **{**look, "linestyle": "none", "label": self.label, **changes})


CONDITIONS: dict[Condition, Look] = {
    "released": Look(BLUE, "o", "as released"),
    "lora": Look(VERMILLION, "s", "fine-tuned (LoRA)"),
}
REFERENCE = Look(GREEN, "^", "reference classifier")


def is_reference(record: Record) -> bool:
    """Whether the record is that of a classifier trained on the task itself."""
    return record.model.role == "reference"


def tasks_of(records: Sequence[Record]) -> list[str]:
    """Return the names of the records' tasks, sorted, each once."""
    return sorted({record.task.name for record in records})


def models_of(records: Sequence[Record]) -> list[str]:
    """Return the names of the records' models, sorted, each once."""
    return sorted({record.model.name for record in records})


def conditions_of(records: Sequence[Record]) -> list[Condition]:
    """Return the records' conditions in the order in which they are drawn."""
    held = {record.condition for record in records}
    return [condition for condition in CONDITIONS if condition in held]


def clean(text: str) -> str:
    """Return text without line breaks and signs that cannot be printed, which no SVG may hold."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def fitted(name: str, letters: int, lines: int = 2) -> str:
    """Break a name into at most so many lines of so many letters; what is too much is left out in the middle.

    Both ends stay, because models of one family differ at the end.
    """
    rest = clean(name)
    found: list[str] = []
    while len(rest) > letters and len(found) < lines - 1:
        end = 1 + max(rest.rfind(sign, 0, letters) for sign in _BREAKS)
        end = end if end > letters // 3 else letters
        found.append(rest[:end])
        rest = rest[end:]
    if len(rest) > letters:
        tail = letters // 2
        rest = f"{rest[: letters - tail - 1]}…{rest[-tail:]}"
    return "\n".join([*found, rest])


def add_foot(figure: Figure, handles: Sequence[Artist], notes: Sequence[str], space: float = 0.05) -> float:
    """Make a figure of constrained layout taller by a legend and notes, which stand below and cover nothing.

    Args:
        figure: as tall as what is drawn so far needs.
        handles: what the legend explains; as many columns are made as fit.
        notes: sentences.
        space: between the drawing and the legend, in inches.

    Returns:
        Where the middle of the drawing is, as a share of the figure's height.
    """
    width, body = (float(size) for size in figure.get_size_inches())
    lines = [line for note in notes for line in textwrap.wrap(note, int((width - 2 * _PAD) * _NOTE_LETTERS))]
    below = _PAD + _LINE * len(lines)
    strip = below + space + _add_legend(figure, handles, width)
    height = body + strip
    figure.set_size_inches(width, height)
    for legend in figure.legends:
        legend.set_bbox_to_anchor((0.5, below / height), transform=figure.transFigure)
    for number, line in enumerate(reversed(lines)):
        y = (_PAD / 2 + _LINE * number) / height
        figure.text(_PAD / width, y, line, fontsize=TINY, color="#333333", va="bottom")
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, strip / height, 1, 1 - strip / height))
    return (strip + body / 2) / height


def _add_legend(figure: Figure, handles: Sequence[Artist], width: float) -> float:
    """Add a legend with as many columns as fit, and return its height in inches."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    for columns in range(min(len(handles), 5), 0, -1):
        legend = figure.legend(
            handles=list(handles),
            loc="lower center",
            bbox_to_anchor=(0.5, 0),
            ncols=columns,
            fontsize=SMALL,
            frameon=False,
            handlelength=2.0,
            columnspacing=1.4,
            borderaxespad=0,
        )
        box = legend.get_window_extent(renderer)
        if box.width <= (width - 2 * _PAD) * figure.dpi or columns == 1:
            return float(box.height / figure.dpi)
        legend.remove()
    return 0.0
