"""Draw the README's pictures: `python tools/pictures.py results/zoo--llava-healthy/phantom`."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from harness.data.phantom import generate
from leaderboard.figures.layers import layer_figure
from leaderboard.record.record import read_record
from tasks.catalog import load

DOCS = Path(__file__).resolve().parents[1] / "docs"
FIRST_TEST_IMAGE = 2000  # of the phantom task
_SIDE, _GAP, _HEAD = 176, 10, 26  # pixels


def draw_images(path: Path) -> None:
    """Draw one test image of each class in a row, with its name."""
    names = [cls.wording for cls in load("phantom").classes]
    batch = generate(FIRST_TEST_IMAGE, 50)
    sheet = Image.new("RGB", (len(names) * (_SIDE + _GAP) + _GAP, _HEAD + _SIDE + _GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for place, name in enumerate(names):
        left = _GAP + place * (_SIDE + _GAP)
        image = Image.fromarray(batch.images[batch.labels.tolist().index(place)])
        sheet.paste(image.resize((_SIDE, _SIDE), Image.Resampling.NEAREST), (left, _HEAD))
        pen.text((left + _SIDE / 2, _HEAD / 2), name, fill="black", font=font, anchor="mm")
    sheet.save(path)


def main(folder: Path) -> None:
    """Write both pictures into the documents' folder."""
    draw_images(DOCS / "phantom_images.png")
    figure = layer_figure(read_record(folder / "record.json"), "linear")
    if figure is None:
        sys.exit(
            f"{folder}: no layer was probed with the linear readout; run `harness eval` without --no-probe"
        )
    (DOCS / "layer_curve.svg").write_text(figure.standalone(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
