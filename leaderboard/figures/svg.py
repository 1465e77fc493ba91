"""SVG as text: elements, paths, scales, axes, marks that say their value, and whole pictures.

Colours are classes of `theme`, so that light and dark both work. Every text is made plain and escaped here.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from leaderboard.figures import theme
from leaderboard.record.parts import Interval
from leaderboard.words import LONG, MINUS, NAME, interval, plain

Point = tuple[float, float]
Table = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]  # headings and rows

WIDE, NARROW = 740.0, 346.0  # pixels: a wide page, and a phone of 390
LETTER = 6.6  # pixels of a letter on the average, rather too many
DENSE = 15  # pixels between two values below which whiskers become a band
_BREAKS = "/-_. "  # a name is broken after one of these where it can be


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

    def ticks(self, most: int) -> tuple[float, ...]:
        """Return round numbers on the axis, at most about so many."""
        least = (self.high - self.low) / most
        size = 10.0 ** math.floor(math.log10(least))
        step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= least * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return tuple(round(step * place, 9) for place in range(first, last + 1))


@dataclass(frozen=True)
class Drawing:
    """What is drawn on a sheet of this width and height in pixels."""

    width: float
    height: float
    content: str


@dataclass(frozen=True)
class Figure:
    """A figure for a wide page and, where that is not read on a phone, for a phone too.

    `title` names it and `description` says in words what it shows, for readers who do not see it. `legend` holds
    symbols of `theme` and words, `notes` what stands below where the figure stands by itself. `table` holds its
    values, where the page that shows it has no table of its own.
    """

    title: str
    description: str
    wide: Drawing
    narrow: Drawing | None = None
    legend: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    table: Table | None = None

    def inline(self, key: str) -> Markup:
        """Return both drawings to stand in a page, whose style sheet shows one of them; `key` makes identifiers."""
        drawn = {"wide": self.wide, "narrow": self.narrow}
        return Markup("").join(
            _picture(self, drawing, f"{key}-{kind}", kind) for kind, drawing in drawn.items() if drawing
        )

    def standalone(self, scheme: theme.Scheme | None = None) -> str:
        """Return a file of its own with legend and notes; with a scheme in its colours, else as its reader's."""
        legend, height = _legend(self.legend, self.wide.width, self.wide.height + 4)
        notes = [line for note in self.notes for line in textwrap.wrap(note, int(self.wide.width / 5.6))]
        foot = "".join(
            text(line, 6, height + 10 + 13 * place, class_="soft small") for place, line in enumerate(notes)
        )
        size = (self.wide.width, height + 13 * len(notes) + 6)
        content = self.wide.content + legend + foot
        rules = theme.style(scheme or "light")
        if scheme is None:
            rules += f"@media (prefers-color-scheme: dark) {{\n{theme.style('dark')}}}\n"
        # A style sheet stands in SVG as character data: no ">" of it may be taken for a mark.
        head = element("style", f"\n{rules}") + element("defs", theme.sprite(content))
        paper = rectangle(0, 0, size, "paper")
        whole = Drawing(*size, head + paper + content)
        drawn = _picture(self, whole, "figure", "", xmlns="http://www.w3.org/2000/svg")
        return f"{drawn}\n"


def element(tag: str, content: str = "", **attributes: float | str) -> str:
    """Return an element that holds `content`, which is SVG already; `class_` and `text_anchor` lose their marks."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value) if isinstance(value, str) else digits(value)}"'
        for name, value in attributes.items()
    )
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def text(said: str, x: float, y: float, **attributes: float | str) -> str:
    """Return a line of text, made plain and escaped."""
    return element("text", html.escape(plain(said), quote=False), x=x, y=y, **attributes)


def lines(said: str, x: float, y: float, **attributes: float | str) -> str:
    """Return lines of text whose middle is at a height."""
    held = said.split("\n")
    top = y + 4 - 6.5 * (len(held) - 1)
    return "".join(text(line, x, top + 13 * place, **attributes) for place, line in enumerate(held))


def path(d: str, kind: str) -> str:
    """Return a path of this class."""
    return element("path", d=d, class_=kind)


def rectangle(left: float, top: float, size: Point, kind: str) -> str:
    """Return a rectangle of this width and height, of this class."""
    return element("rect", x=left, y=top, width=size[0], height=size[1], class_=kind)


def digits(value: float) -> str:
    """Write a coordinate with at most one decimal: a tenth of a pixel is too small to be seen."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def tick(value: float) -> str:
    """Write a number of an axis."""
    return f"{value:g}".replace("-", MINUS)


def polyline(points: Iterable[Point]) -> str:
    """Return the path that joins these points."""
    return "M" + "L".join(f"{digits(x)},{digits(y)}" for x, y in points)


def diamond(x: float, y: float, half: float) -> str:
    """Return the path around a diamond."""
    return polyline([(x, y - half), (x + half, y), (x, y + half), (x - half, y)]) + "Z"


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


def mark(content: str, said: str) -> str:
    """Return what is drawn of a value: a pointer or the keyboard on it shows what it says.

    The title is what a reader's program says; the words themselves appear at the top right, where they cover
    nothing.
    """
    shown = html.escape(plain(said, NAME), quote=False)
    held = element("title", shown) + content + element("text", shown)
    return element("g", held, class_="mark", tabindex="0", role="img")


def dot(kind: str, x: float, y: float) -> str:
    """Return the marker of a kind of value."""
    return element("use", href=f"#dot-{kind}", x=x, y=y)


def fitted(name: str, letters: int, most: int = 2) -> str:
    """Break a name into at most so many lines of so many letters; what is too much is left out in the middle.

    Both ends stay, because models of one family differ at the end.
    """
    rest = "".join(sign if sign.isprintable() else " " for sign in name)
    found: list[str] = []
    while len(rest) > letters and len(found) < most - 1:
        end = 1 + max(rest.rfind(sign, 0, letters) for sign in _BREAKS)
        end = end if end > letters // 3 else letters
        found.append(rest[:end])
        rest = rest[end:]
    if len(rest) > letters:
        tail = letters // 2
        rest = f"{rest[: letters - tail - 1]}…{rest[-tail:]}"
    return "\n".join([*found, rest])


@dataclass(frozen=True)
class Axes:
    """Where curves stand: `x` from left to right, `y` from bottom to top in percent."""

    x: Scale
    y: Scale

    def height(self, share: float) -> float:
        """Return where a share lies."""
        return self.y.at(100 * share)

    def grid(self, step: int, name: str = "") -> str:
        """Return lines at every so many percent with their numbers, and the axis' name above them."""
        d, labels = "", ""
        for level in range(0, 101, step):
            y = self.y.at(level)
            d += f"M{digits(self.x.start)},{digits(y)}H{digits(self.x.end)}"
            labels += text(f"{level}%", self.x.start - 4, y + 3.5, text_anchor="end")
        named = text(name, 2, self.y.end - 10, class_="soft") if name else ""
        return path(d, "grid") + labels + named

    def level(self, share: float, kind: str) -> str:
        """Return a line over the whole width at a share."""
        y = digits(self.height(share))
        return path(f"M{digits(self.x.start)},{y}H{digits(self.x.end)}", kind)

    def uprights(self, xs: Iterable[float]) -> str:
        """Return lines over the whole height at these pixels."""
        top, bottom = digits(self.y.end), digits(self.y.start)
        return path("".join(f"M{digits(x)},{top}V{bottom}" for x in xs), "grid")

    def curve(
        self,
        xs: Sequence[float],
        values: Sequence[Interval],
        names: Sequence[str],
        kind: str,
        *,
        line: str = "line",
    ) -> str:
        """Return values with 95% intervals: whiskers, or a band where they would run into each other.

        Args:
            xs: pixels, rising.
            values: one for each.
            names: what each mark says before its value.
            kind: of `theme`.
            line: how the values are joined.
        """
        if not xs:
            return ""
        spots = [(x, self.height(v.value)) for x, v in zip(xs, values, strict=True)]
        lows, highs = [self.height(v.low) for v in values], [self.height(v.high) for v in values]
        gap = min((b - a for a, b in pairwise(xs)), default=DENSE)
        if gap < DENSE:
            ends = path(band(xs, lows, highs), f"band {kind}")
        else:
            d = "".join(whisker(*one, cap=2.5) for one in zip(xs, lows, highs, strict=True))
            ends = path(d, f"ends {kind}")
        every = math.ceil(DENSE / max(gap, 1))
        marks = "".join(
            mark(dot(kind, *spot), f"{name} {interval(value)}")
            for spot, name, value in list(zip(spots, names, values, strict=True))[::every]
        )
        return ends + (path(polyline(spots), f"{line} {kind}") if len(xs) > 1 else "") + marks


def symbol(size: Point, content: str, key: str) -> Markup:
    """Return a figure that is drawn wherever `copy_of` names it; a page with many rows is much smaller for it."""
    return Markup(element("symbol", content, id=key, viewBox=f"0 0 {digits(size[0])} {digits(size[1])}"))


def copy_of(size: Point, key: str, kind: str) -> Markup:
    """Return the figure that `symbol` keeps under this key, hidden from screen readers."""
    return ornament(size, element("use", href=f"#{key}"), kind)


def ornament(size: Point, content: str, kind: str) -> Markup:
    """Return a figure that shows what is also written beside it, hidden from screen readers."""
    return _svg(Drawing(*size, content), kind, aria_hidden="true")


def _picture(figure: Figure, drawing: Drawing, key: str, kind: str, **attributes: str) -> Markup:
    named = element("title", html.escape(plain(figure.title), quote=False), id=f"{key}-title")
    described = element("desc", html.escape(plain(figure.description, LONG), quote=False), id=f"{key}-text")
    whole = Drawing(drawing.width, drawing.height, named + described + drawing.content)
    return _svg(whole, kind, role="group", aria_labelledby=f"{key}-title {key}-text", **attributes)


def _svg(drawing: Drawing, kind: str, **attributes: str) -> Markup:
    width, height = drawing.width, drawing.height
    classes = {"class_": kind} if kind else {}
    box = f"0 0 {digits(width)} {digits(height)}"
    # Every text in it was escaped by `text` or `element`, so it goes into the page as it is.
    return Markup(
        element("svg", drawing.content, **classes, width=width, height=height, viewBox=box, **attributes)
    )


def _legend(rows: Sequence[tuple[str, str]], width: float, top: float) -> tuple[str, float]:
    """Return symbols and words, row by row as many as fit, and where they end."""
    drawn, x, y = "", 6.0, top
    for name, words in rows:
        needed = 34 + LETTER * len(words)
        if x > 6 and x + needed > width:
            x, y = 6.0, y + 18
        drawn += element("use", href=f"#key-{name}", x=x, y=y, width=26, height=14)
        drawn += text(words, x + 31, y + 11, class_="soft")
        x += needed + 12
    return drawn, y + 20 if rows else y
