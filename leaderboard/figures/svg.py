"""SVG as text: elements, paths and scales.

Colours are classes of the page's style sheet, so that light and dark both work.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """A linear axis: `low` lies at `start` and `high` at `end`, in pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return where a value lies; one beyond the axis lies at its end."""
        inside = min(max(value, self.low), self.high)
        return self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True)
class Figure:
    """A figure for a wide page and for a phone, of which the style sheet shows one, and its legend.

    `legend` holds symbol and words; the symbols are those of the template `symbols.html`.
    """

    wide: Markup
    narrow: Markup
    legend: tuple[tuple[str, str], ...]


def element(tag: str, content: str = "", **attributes: float | str) -> str:
    """Return an element that holds `content`, which is SVG already; `class_` and `text_anchor` lose their marks."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value) if isinstance(value, str) else digits(value)}"'
        for name, value in attributes.items()
    )
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def text(said: str, x: float, y: float, **attributes: float | str) -> str:
    """Return a line of text, escaped."""
    return element("text", html.escape(said, quote=False), x=x, y=y, **attributes)


def rectangle(left: float, top: float, size: Point, kind: str) -> str:
    """Return a rectangle of this width and height, of this class."""
    return element("rect", x=left, y=top, width=size[0], height=size[1], class_=kind)


def digits(value: float) -> str:
    """Write a coordinate with at most one decimal: a tenth of a pixel is too small to be seen."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def polyline(points: Iterable[Point]) -> str:
    """Return the path that joins these points."""
    return "M" + "L".join(f"{digits(x)},{digits(y)}" for x, y in points)


def places(points: Iterable[Point]) -> str:
    """Return the path that stops at these points and draws nothing, for markers to stand there."""
    return "".join(f"M{digits(x)},{digits(y)}" for x, y in points)


def band(xs: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> str:
    """Return the path around the area between two lines."""
    there = list(zip(xs, highs, strict=True))
    return polyline([*there, *reversed(list(zip(xs, lows, strict=True)))]) + "Z"


def stairs(edges: Sequence[Point]) -> str:
    """Return the path that goes along, then up or down, from each of these points to the next."""
    first, *rest = edges
    steps = "".join(f"H{digits(x)}V{digits(y)}" for x, y in rest)
    return f"M{digits(first[0])},{digits(first[1])}{steps}"


def whisker(x: float, low: float, high: float, cap: float = 3) -> str:
    """Return the path of an upright interval with its two caps."""
    left, wide = digits(x - cap), digits(2 * cap)
    return (
        f"M{digits(x)},{digits(low)}V{digits(high)}M{left},{digits(low)}h{wide}M{left},{digits(high)}h{wide}"
    )


def flat_whisker(y: float, low: float, high: float, cap: float = 3) -> str:
    """Return the path of a lying interval with its two caps."""
    top, tall = digits(y - cap), digits(2 * cap)
    return f"M{digits(low)},{digits(y)}H{digits(high)}M{digits(low)},{top}v{tall}M{digits(high)},{top}v{tall}"


def picture(size: Point, content: str, *, key: str, title: str, description: str, kind: str) -> Markup:
    """Return a figure of this width and height that is named and described for readers who do not see it.

    `key` makes its identifiers, `kind` is its class: "wide" or "narrow".
    """
    named = element("title", html.escape(title, quote=False), id=f"{key}-title")
    described = element("desc", html.escape(description, quote=False), id=f"{key}-text")
    return _svg(
        size, named + described + content, kind, role="img", aria_labelledby=f"{key}-title {key}-text"
    )


def symbol(size: Point, content: str, key: str) -> Markup:
    """Return a figure that is drawn wherever `copy_of` names it; a page with many rows is much smaller for it."""
    return Markup(element("symbol", content, id=key, viewBox=f"0 0 {digits(size[0])} {digits(size[1])}"))


def copy_of(size: Point, key: str, kind: str) -> Markup:
    """Return the figure that `symbol` keeps under this key, hidden from screen readers."""
    return ornament(size, element("use", href=f"#{key}"), kind)


def ornament(size: Point, content: str, kind: str) -> Markup:
    """Return a figure that shows what is also written beside it, hidden from screen readers."""
    return _svg(size, content, kind, aria_hidden="true")


def _svg(size: Point, content: str, kind: str, **attributes: str) -> Markup:
    width, height = size
    box = f"0 0 {digits(width)} {digits(height)}"
    # Every text in it was escaped by `text` or `element`, so it goes into the page as it is.
    return Markup(element("svg", content, class_=kind, width=width, height=height, viewBox=box, **attributes))
