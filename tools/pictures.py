"""Draw the README's pictures: `python docs/make_pictures.py results/zoo--llava-healthy/phantom`."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

from harness.data.phantom import generate
from harness.report.figure_layers import layer_curve
from leaderboard.record.record import read_record

DOCS = Path(__file__).resolve().parents[1] / "docs"
FIRST_TEST_IMAGE = 2000  # of the phantom task


def draw_images(path: Path) -> None:
    """Draw one test image of each class in a row, with its name."""
    from tasks.catalog import load

    names = [cls.wording for cls in load("phantom").classes]
    batch = generate(FIRST_TEST_IMAGE, 50)
    figure = Figure(figsize=(8.4, 2.0), layout="constrained")
    for place, (axes, name) in enumerate(zip(figure.subplots(1, len(names)), names, strict=True)):
        image = batch.images[batch.labels.tolist().index(place)]
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(name, fontsize=10)
        axes.axis("off")
    figure.savefig(path, dpi=110)


def main(folder: Path) -> None:
    """Write both pictures beside this file."""
    draw_images(DOCS / "phantom_images.png")
    svg = layer_curve(read_record(folder / "record.json"), "linear")
    (DOCS / "layer_curve.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
