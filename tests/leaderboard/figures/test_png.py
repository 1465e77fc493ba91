from __future__ import annotations

import io
from typing import Literal

import pytest
import resvg_py
from PIL import Image

from leaderboard.figures import png, svg
from leaderboard.figures.svg import Drawing, Figure
from leaderboard.figures.theme import COLOURS

SQUARE = svg.rectangle(10, 10, (20, 20), "drop loss") + svg.text("word", 40, 40)


@pytest.mark.parametrize(("scheme", "place"), [("light", 0), ("dark", 1)])
def test_a_picture_has_the_colours_of_its_scheme(scheme: Literal["light", "dark"], place: int) -> None:
    drawn = png.to_png(Figure("t", "d", Drawing(96, 48, SQUARE)), scheme)
    with Image.open(io.BytesIO(drawn)) as picture:
        assert picture.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        assert picture.width == 200
        wanted = [tuple(bytes.fromhex(COLOURS[name][place][1:])) for name in ("vermillion", "paper")]
        assert [picture.getpixel((40, 40)), picture.getpixel((190, 5))] == wanted
        ink = picture.crop((84, 60, 150, 90)).getcolors()
        assert ink is not None
        assert len(ink) > 3, "the word is drawn"


def test_a_figure_too_tall_for_a_picture_has_fewer_dots() -> None:
    with Image.open(io.BytesIO(png.to_png(Figure("", "", Drawing(20, 40_000, ""))))) as picture:
        assert picture.height == pytest.approx(20_000, abs=10)


def test_a_machine_without_fonts_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    render = resvg_py.svg_to_bytes
    monkeypatch.setattr(resvg_py, "svg_to_bytes", lambda **given: render(**given, skip_system_fonts=True))
    png.has_fonts.cache_clear()
    assert not png.has_fonts()
    with pytest.raises(ValueError, match="no font is installed"):
        png.to_png(Figure("", "", Drawing(20, 20, "")))
    monkeypatch.undo()
    png.has_fonts.cache_clear()
    assert png.has_fonts()
