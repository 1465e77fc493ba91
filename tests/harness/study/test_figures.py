from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from harness.report.drawing import GREY, style
from harness.study.document import StudyError
from harness.study.figure_accuracy import accuracy_figure
from harness.study.figure_contrasts import SIDES, contrast_figure
from harness.study.figure_files import FAMILIES, file_stem, to_png, to_svg, write_figures
from harness.study.figure_health import NOISE, health_figure
from harness.study.figure_layer_grid import layer_grid_figures
from harness.study.figure_parts import fitted
from leaderboard.compare.contrasts import FINE_TUNING
from leaderboard.record.record import Record
from tests.harness.full_records import full_record
from tests.harness.study import figure_records
from tests.harness.study.figure_records import contrast, grid, named, reference_of

OKABE_ITO = {"#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"}
NEUTRAL = {"#ffffff", "#666666", "#767676", "#dddddd", "#333333", "#444444"}
WORLDS = {
    "a few": (["zoo/a", "zoo/b-$x_y$", "zoo/c"], ["busi", "phantom-200"]),
    "long names": ([figure_records.LONG.format(k) for k in range(3)], ["a-task-with-quite-a-long-name", "b"]),
    "lonely": (["zoo/a"], ["busi"]),
    "many": ([f"organisation/some-model-name-{k:02}-7b" for k in range(14)], ["busi", "covid19_ct", "path"]),
}


def figures(name: str) -> list[Figure]:
    models, tasks = WORLDS[name]
    records = grid(models, tasks)
    held = [contrast(f, m, t) for f in figure_records.FAMILIES for m in models[:5] for t in tasks]
    found = [
        accuracy_figure(records),
        health_figure(records),
        *layer_grid_figures(records, "linear").values(),
    ]
    return [f for f in (*found, *(contrast_figure(held, f) for f in FAMILIES)) if f is not None]


def drawn(figure: Figure) -> Figure:
    with style():
        FigureCanvasAgg(figure).draw()
    return figure


def texts(figure: Figure | None) -> list[str]:
    assert figure is not None
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def points(figure: Figure | None, place: int = 0) -> list[tuple[float, float, float, float]]:
    """Return x, y and the ends of the bars of everything with bars in a panel."""
    assert figure is not None
    bars = [c for c in figure.axes[place].containers if isinstance(c, ErrorbarContainer)]
    found = []
    for bar in bars:
        (x,), (y,) = bar.lines[0].get_data()
        ends = bar.lines[2][0].get_segments()[0]
        along = 0 if bar.has_xerr else 1
        found.append((float(x), float(y), float(ends[0][along]), float(ends[1][along])))
    return found


def tick_labels(axis: Axis) -> list[Text]:
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    labels = [tick.label1 for tick in ticks]
    return [text for text in labels if text.get_visible() and text.get_text().strip()]


@pytest.mark.parametrize(
    "name", ["a few", "long names", "lonely", pytest.param("many", marks=pytest.mark.slow)]
)
def test_nothing_is_cut_off_and_no_words_cover_others(name: str) -> None:
    for figure in figures(name):
        edge = drawn(figure).bbox
        boxes = {}
        shown = [
            label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in tick_labels(axis)
        ]
        shown += [t for axes in figure.axes for t in (*axes.texts, axes.xaxis.label, axes.yaxis.label)]
        shown += [t for axes in figure.axes for t in (axes.title, axes._left_title, axes._right_title)]
        shown += [*figure.texts, *(t for legend in figure.legends for t in legend.get_texts())]
        for text in shown:
            lines = [line for line in text.get_text().split("\n") if line.strip()]
            if lines and text.get_visible():
                box = text.get_window_extent()
                boxes[text] = box
                assert edge.x0 - 1 <= box.x0, text.get_text()
                assert box.x1 <= edge.x1 + 1, text.get_text()
                assert edge.y0 - 1 <= box.y0, text.get_text()
                assert box.y1 <= edge.y1 + 1, text.get_text()
        for first, second in combinations(boxes, 2):
            if any(text.get_text().endswith("\n") for text in (first, second)):
                continue  # its last line is left empty for the other
            a, b = boxes[first].padded(-1), boxes[second].padded(-1)
            assert not a.overlaps(b), f"{first.get_text()!r} covers {second.get_text()!r}"


@pytest.mark.parametrize("name", ["a few", "lonely"])
def test_colours_are_those_that_colour_blind_readers_can_tell_apart(name: str) -> None:
    for figure in figures(name):
        lines = {to_hex(line.get_color()) for line in figure.findobj(Line2D) if line.get_visible()}
        assert lines - NEUTRAL <= OKABE_ITO
    looks = [(one.colour, one.marker) for sides in SIDES.values() for one in sides]
    for first, second in zip(looks[::2], looks[1::2], strict=True):
        assert first[0] != second[0]
        assert first[1] != second[1]


def test_accuracy_shows_every_value_with_its_interval_and_the_majority_class() -> None:
    records = grid(["zoo/b", "zoo/a"], ["t"])
    assert records[1].answers is not None
    held = records[1].answers.model_copy(update={"majority_accuracy": 0.3125})
    records = [record.model_copy(update={"answers": held}) for record in records]
    figure = accuracy_figure(records)
    assert figure is not None
    expected = [100 * v for v in (held.accuracy.value, held.accuracy.low, held.accuracy.high)]
    found = points(figure)
    assert len(found) == len(records) == 4
    for x, _, low, high in found:
        assert [x, low, high] == pytest.approx(expected)
    rows = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert rows == ["zoo/a", "zoo/b", "reference/small"]
    assert len({y for _, y, _, _ in found}) == 4, "no point covers another"
    assert any(np.allclose(line.get_xdata(), 31.25) for line in figure.axes[0].lines)


def test_accuracy_says_what_is_unofficial_seen_or_missing() -> None:
    base = full_record(readouts=())
    other = base.model_copy(update={"task": base.task.model_copy(update={"official_data": False})})
    plain = accuracy_figure([named(base, "a", "x")])
    assert not any(sign in text for text in texts(plain) for sign in "*+")
    marked = [named(base, "a", "x", seen_in_training=True), named(other, "b", "y"), named(base, "b", "x")]
    found = texts(accuracy_figure(marked))
    assert any(text.startswith("y*\n") for text in found)
    assert any(text.startswith("x\n") for text in found)
    assert found.count("+") == 1
    assert found.count("no result") == 1
    assert sum(text.startswith(("* ", "+ ")) for text in found) == 2


def test_health_shows_the_four_values_and_greys_what_is_noise() -> None:
    record = named(full_record(readouts=()), "a", "t")
    assert record.health is not None
    figure = health_figure([record])
    values = [y for _, y, _, _ in points(figure)]
    assert record.answers is not None
    assert values == pytest.approx([1.234, 0.876, -0.321, record.answers.accuracy.value])
    assert points(figure)[0][2:] == pytest.approx((1.134, 1.334))
    assert figure is not None
    bars = [bar for bar in figure.axes[0].containers if isinstance(bar, ErrorbarContainer)]
    grey = [to_hex(bar.lines[0].get_color()) == GREY for bar in bars]
    assert grey == [False, False, True, False]
    assert any(NOISE in text for text in texts(figure))
    assert any("not bounded by 0 and 1" in text for text in texts(figure))
    assert figure.axes[0].get_ylabel() == "Feature Health Score"


def test_health_tells_conditions_apart_by_filling_and_many_models_by_rows() -> None:
    base = full_record(readouts=())
    figure = health_figure([named(base, "a", "t"), named(base, "a", "t", "lora")])
    assert figure is not None
    fills = [to_hex(c.lines[0].get_markerfacecolor()) for c in figure.axes[0].containers]
    assert [fill == "#ffffff" for fill in fills] == [False] * 4 + [True] * 4
    xs = sorted(x for x, *_ in points(figure))
    assert min(b - a for a, b in pairwise(xs)) > 0.1
    many = health_figure([named(base, f"m{k:02}", task) for k in range(9) for task in ("t", "u")])
    assert many is not None
    assert len(many.axes) == 18


def test_layers_stand_in_the_cell_of_their_model_and_condition() -> None:
    base = full_record(readouts=("linear",))
    figure = layer_grid_figures([named(base, "a", "t"), named(base, "b", "t", "lora")], "linear")["t"]
    said = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert ["not run" in words for words in said] == [False, True, True, False]
    vision = [p for p in base.probes if (p.module, p.pool) == ("vision", "mean")]
    curve = [100 * p.balanced_accuracy.value for p in vision]
    for place in (0, 3):
        lines = [line.get_ydata() for line in figure.axes[place].lines]
        assert any(len(ys) == len(curve) and np.allclose(ys, curve) for ys in lines)
        assert any(np.allclose(ys, 100 / 3) for ys in lines), "chance"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"chance", "read by the connector", "the model's answers"} <= set(labels)
    assert len(labels) == len(set(labels))


def test_layer_pages_are_for_eight_models_and_one_condition_where_none_is_tuned() -> None:
    base = full_record(readouts=("linear",))
    found = layer_grid_figures([named(base, f"m{k:02}", "t") for k in range(9)], "linear")
    assert {name: len(figure.axes) for name, figure in found.items()} == {"t-1": 8, "t-2": 1}
    assert layer_grid_figures([named(base, "a", "t")], "paper") == {}
    clash = [named(base, f"m{k:02}", task) for k in range(9) for task in ("t", "t-1")]
    assert len(layer_grid_figures(clash, "linear")) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_contrast_shows_both_values_the_difference_and_the_conclusion(family: str) -> None:
    unsure = {"value": -0.01, "low": -0.1, "high": 0.08, "p_adjusted": 0.0004, "conclusion": "undetermined"}
    held = [contrast(family, "a"), contrast(family, "b", **unsure), contrast("another question")]
    figure = contrast_figure(held, family)
    assert [x for x, *_ in points(figure)] == pytest.approx([80, 60, 80, 60])
    assert [(x, low, high) for x, _, low, high in points(figure, 1)] == [
        pytest.approx((20, 10, 31)),
        pytest.approx((-1, -10, 8)),
    ]
    found = texts(figure)
    assert "higher, p = 0.012" in found
    assert "undetermined, p < 0.001" in found
    assert figure is not None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        side.label for side in SIDES[family]
    ]
    first, second = (side.marker for side in SIDES[family])
    assert [c.lines[0].get_marker() for c in figure.axes[0].containers] == [first, second] * 2


def test_there_is_no_empty_picture() -> None:
    base = full_record(readouts=())
    silent = named(base, "a", "t").model_copy(update={"answers": None, "health": None})
    reference = reference_of(base, "r", "t")
    assert accuracy_figure([]) is None
    assert accuracy_figure([silent]) is None
    assert health_figure([silent, reference]) is None
    assert layer_grid_figures([silent, reference], "linear") == {}
    assert contrast_figure([contrast("another question")], FINE_TUNING) is None
    assert accuracy_figure([reference]) is not None


def test_a_name_is_broken_and_keeps_both_its_ends() -> None:
    assert fitted("short", 10) == "short"
    assert fitted("organisation/model-7b", 14) == "organisation/\nmodel-7b"
    cut = fitted("x" * 30 + "begin" + "m" * 100 + "-v1.5", 20)
    assert all(len(line) <= 20 for line in cut.split("\n"))
    assert cut.endswith("-v1.5")
    assert fitted("a\nb\x00\ud800", 10) == "a b  "


def test_hostile_names_stay_text_and_give_plain_file_names(tmp_path: Path) -> None:
    names = ["$\\frac{a$ <b>&\x01", "\ud800模型", "../../up"]
    records = [record for name in names for record in grid([name], [f"{name}/t"], tuned=False)]
    held = [contrast(FINE_TUNING, name, f"{name}/t") for name in names]
    paths = write_figures(records, held, ["linear"], tmp_path / "figures")
    assert all(path.parent == tmp_path / "figures" for path in paths)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", path.name) for path in paths)
    assert len({path.name.lower() for path in paths}) == len(paths)
    svgs = [path for path in paths if path.suffix == ".svg"]
    shown = "".join("".join(ET.parse(path).getroot().itertext()) for path in svgs)
    assert "$\\frac{a$" in shown
    assert "<b>&" in shown


def test_file_names_differ_where_names_do() -> None:
    taken: set[str] = set()
    assert [file_stem(name, taken) for name in ("a/b", "a b", "A-b", "x" * 300)] == [
        "a-b",
        "a-b-2",
        "A-b-3",
        "x" * 100,
    ]


def test_two_runs_give_the_same_bytes_at_the_size_of_print(tmp_path: Path) -> None:
    records: list[Record] = grid(["zoo/a", "zoo/b"], ["t"])
    held = [contrast(family, "zoo/a") for family in FAMILIES]
    first, second = (write_figures(records, held, ["linear"], tmp_path / name) for name in ("one", "two"))
    stems = ["accuracy", "health", "layers-t-linear", *FAMILIES.values()]
    assert [p.name for p in first] == [f"{stem}.{end}" for stem in stems for end in ("svg", "png")]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    for path in first:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert picture.info["dpi"] == pytest.approx((200, 200), abs=0.1)
                assert picture.width <= 7.2 * 200
        else:
            text = path.read_text(encoding="utf-8")
            assert "<text" in text
            assert not re.search(r"20\d\d-\d\d-\d\d", text), "no date"


def test_figures_of_before_go_and_foreign_files_stay(tmp_path: Path) -> None:
    records = grid(["zoo/a"], ["t"])
    write_figures(records, [contrast(FINE_TUNING)], ["linear"], tmp_path)
    foreign = ("mine.png", "accuracy.pdf", "layers.png", "my-health.svg", "notes.txt")
    for name in (*foreign, ".health.png.1a2b.part"):
        (tmp_path / name).write_text("x")
    paths = write_figures([named(full_record(readouts=()), "a", "t")], [], ["linear"], tmp_path)
    assert {path.stem for path in paths} == {"accuracy", "health"}
    assert {path.name for path in tmp_path.iterdir()} == {*foreign, *(path.name for path in paths)}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(StudyError, match="figures cannot be written"):
        write_figures(grid(["a"], ["t"]), [], ["linear"], tmp_path / "figures")


def test_a_figure_too_tall_for_a_picture_has_fewer_dots() -> None:
    figure = Figure(figsize=(0.2, 400))
    with Image.open(io.BytesIO(to_png(figure))) as picture:
        assert picture.height == pytest.approx(60_000, abs=1)
    assert "<svg" in to_svg(figure)
