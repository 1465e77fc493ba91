"""Figures as PNG, by resvg, whose words are set in the machine's own fonts."""

from __future__ import annotations

import io
from functools import cache

from leaderboard.figures import svg
from leaderboard.figures.svg import Drawing, Figure
from leaderboard.figures.theme import Scheme

DPI = 200
NO_FONTS = "no font is installed here for the words of a PNG; install one, such as DejaVu Sans"
_INCH = 96  # pixels of a figure
_MOST = 20_000  # pixels of one side


def to_png(figure: Figure, scheme: Scheme = "light") -> bytes:
    """Return a figure as PNG with 200 dots an inch, less where it would be too large.

    Raises:
        ValueError: the machine has no font to set its words in; ask `has_fonts` first.
    """
    import resvg_py
    from PIL import Image

    if not has_fonts():
        raise ValueError(NO_FONTS)
    dots = min(DPI, _MOST * _INCH / max(figure.wide.height, figure.wide.width))
    drawn = resvg_py.svg_to_bytes(svg_string=figure.standalone(scheme), zoom=dots / _INCH)
    stream = io.BytesIO()
    with Image.open(io.BytesIO(drawn)) as picture:  # resvg does not say how many dots there are to an inch
        picture.convert("RGB").save(stream, format="PNG", dpi=(dots, dots))
    return stream.getvalue()


@cache
def has_fonts() -> bool:
    """Whether words can be drawn on this machine: a letter leaves a trace."""
    import resvg_py

    letter, nothing = (
        resvg_py.svg_to_bytes(
            svg_string=Figure("", "", Drawing(20, 20, svg.text(said, 4, 16))).standalone("light")
        )
        for said in ("W", "")
    )
    return bytes(letter) != bytes(nothing)
