"""What every figure of a report shares: colours, sizes, error bars, and the way to SVG text.

Each figure is drawn twice, for a wide page and for a phone; the page's style sheet shows one of them.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from leaderboard.record.parts import Interval

# Okabe and Ito's palette, which colour-blind readers can tell apart; markers and hatches differ as well.
BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILLION, PURPLE = "#E69F00", "#D55E00", "#CC79A7"
BLACK, GREY, PALE = "#000000", "#666666", "#DDDDDD"

# Inches; at 96 pixels an inch the second fits a phone of 390 pixels, the third one of two columns on a desktop.
WIDE, NARROW, COLUMN = 7.6, 3.7, 6.0

# Text stays text, set in whatever the reader has; DejaVu Sans, by which it is laid out, is wider than most.
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "harness",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 9,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.8,
}
_DENSE = 5  # places an inch above which whiskers become a band
_IDENTIFIERS = re.compile(r"""((?:\bid=|href=)"#?|url\(#)""")


@dataclass(frozen=True)
class Drawing:
    """A figure to be drawn at a width in inches.

    `title` names it and `description` says in words what it shows, for readers who do not see it.
    """

    name: str
    title: str
    description: str
    draw: Callable[[float], Figure]


@contextmanager
def style() -> Iterator[None]:
    """Set the figures' style, and pass over letters that the layout's font lacks: the reader's may not."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def svg(drawing: Drawing, width: float, prefix: str) -> str:
    """Return the drawing as SVG text to stand in a page.

    Args:
        drawing: what to draw.
        width: in inches.
        prefix: put before every identifier, because identifiers are shared by a whole page.
    """
    with style():
        figure = drawing.draw(width)
        stream = io.StringIO()
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = _IDENTIFIERS.sub(rf"\g<1>{prefix}-", text)
    names = f'role="img" aria-labelledby="{prefix}-title {prefix}-text" class='
    label = (
        f'<title id="{prefix}-title">{html.escape(drawing.title)}</title>'
        f'<desc id="{prefix}-text">{html.escape(drawing.description)}</desc>'
    )
    kind = "narrow" if is_narrow(width) else "wide"
    opening, rest = text.split(">", 1)
    return f'{opening.replace("<svg", f"""<svg {names}"{kind}" """, 1)}>{label}{rest}'


def is_narrow(width: float) -> bool:
    """Whether a drawing of this width in inches has to fit a phone."""
    return width < 5


def shorten(text: str, letters: int) -> str:
    """Cut a text to this many letters, the last a sign that something is left out."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def errors(values: Sequence[Interval]) -> list[list[float]]:
    """Return how far the 95% intervals reach below and above their values, in percent."""
    below = [100 * max(v.value - v.low, 0.0) for v in values]
    above = [100 * max(v.high - v.value, 0.0) for v in values]
    return [below, above]


def width_of(axes: Axes) -> float:
    """Return the width in inches of the figure that holds these axes."""
    return float(axes.figure.dpi_scale_trans.inverted().transform_bbox(axes.figure.bbox).width)


def curve(
    axes: Axes, xs: Sequence[int], values: Sequence[Interval], look: tuple[str, str, str], size: float = 5
) -> None:
    """Draw values in percent with 95% intervals: whiskers, or a band where they would run into each other.

    Args:
        axes: where, with its limits and its figure's size already set.
        xs: places, rising.
        values: one for each place.
        look: colour, marker, label.
        size: of the markers, in points of print.
    """
    colour, marker, label = look
    first, last = axes.get_xlim()
    per_inch = (last - first) / width_of(axes)
    dense = per_inch > _DENSE and len(xs) > 1
    middle = [100 * v.value for v in values]
    below, above = errors(values)
    if dense:
        low = [m - b for m, b in zip(middle, below, strict=True)]
        high = [m + a for m, a in zip(middle, above, strict=True)]
        axes.fill_between(xs, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.errorbar(
        xs,
        middle,
        yerr=None if dense else [below, above],
        color=colour,
        marker=marker,
        markersize=min(size, 4) if dense else size,
        markevery=max(1, round(per_inch / 3)) if dense else None,
        linewidth=1.5,
        elinewidth=1,
        capsize=2,
        label=label,
    )


def reach(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Return the ends of a percent axis that shows all values with a margin, within 0 and 100 where they are."""
    low, high = min(values) - margin, max(values) + margin
    return (max(low, -2.0) if min(values) >= 0 else low), (min(high, 102.0) if max(values) <= 100 else high)


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """Put the legend under the figure, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        fontsize=8,
        frameon=False,
        handlelength=2.2,
    )
