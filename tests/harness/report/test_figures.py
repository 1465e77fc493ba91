from __future__ import annotations

from functools import cache
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from harness.report import drawing, figure_answers
from harness.report.drawing import COLUMN, NARROW, WIDE, Drawing
from harness.report.figure_answers import variants
from harness.report.figure_health import health_drawing
from harness.report.figure_layers import layer_drawing, null_bands, site_order
from harness.report.figure_pair import pair_drawing
from harness.report.figure_waterfall import waterfall_drawing
from leaderboard.figures.waterfall_steps import steps
from leaderboard.record.record import Record
from tests.harness.full_records import PATH, diagnosis, full_content, full_record

LONG = tuple(f"a rather long name of class {letter}" for letter in "abcdefghi")
RECORDS = {
    "small": {},
    "large": {"layers": (27, 48), "classes": LONG},
    "without reference": {"reference": False},
    "one layer each": {"layers": (1, 1)},
}


@cache
def record(name: str) -> Record:
    return full_record(readouts=("linear",), **RECORDS[name])


def drawings(of: Record) -> list[Drawing]:
    found = [
        waterfall_drawing(of),
        layer_drawing(of, "linear"),
        health_drawing(of),
        pair_drawing((of, record("small")), (LONG[0] * 2, LONG[1] * 2), "linear"),
        figure_answers.spread_drawing(of),
        figure_answers.reliability_drawing(of.answers),
        figure_answers.answer_target_drawing(of.answer_target),
    ]
    return [one for one in found if one is not None]


def drawn(one: Drawing, width: float) -> Figure:
    with drawing.style():
        figure = one.draw(width)
        FigureCanvasAgg(figure).draw()
    return figure


def tick_labels(axis: Axis) -> list[Text]:
    """Return the labels that are drawn: matplotlib keeps some for ticks out of sight."""
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [text for tick in ticks for text in (tick.label1, tick.label2) if shown(text)]


def shown(text: Text) -> bool:
    return bool(text.get_visible() and text.get_text().strip())


@pytest.mark.parametrize("width", [WIDE, COLUMN, NARROW])
@pytest.mark.parametrize("name", RECORDS)
def test_no_text_is_cut_off_and_no_axis_label_covers_another(name: str, width: float) -> None:
    found = drawings(record(name))
    assert len(found) == 7
    for one in found:
        figure = drawn(one, width)
        edge = figure.bbox
        axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
        ticks = {axis: tick_labels(axis) for axis in axes}
        unseen = {text for axis in axes for text in axis.findobj(Text)} - set(chain(*ticks.values()))
        unseen -= {axis.label for axis in axes}
        for text in set(figure.findobj(Text)) - unseen:
            if shown(text):
                box = text.get_window_extent()
                inside = edge.x0 - 1 <= box.x0 and box.x1 <= edge.x1 + 1
                assert inside, f"{one.name}: {text.get_text()!r} sticks out at a side"
                inside = edge.y0 - 1 <= box.y0 and box.y1 <= edge.y1 + 1
                assert inside, f"{one.name}: {text.get_text()!r} sticks out above or below"
        for labels in ticks.values():
            for first, second in pairwise(labels):
                free = not first.get_window_extent().overlaps(second.get_window_extent())
                assert free, f"{one.name}: {first.get_text()!r} and {second.get_text()!r} overlap"


@given(
    levels=st.lists(st.floats(-0.3, 1.0), min_size=len(PATH), max_size=len(PATH)),
    classes=st.integers(2, 12),
)
def test_the_waterfall_adds_up(levels: list[float], classes: int) -> None:
    content = full_content(classes=[f"c{k}" for k in range(classes)], layers=(1, 1), readouts=())
    by_place = dict(zip(PATH, levels, strict=True))
    content["diagnosis"] = diagnosis(by_place, classes, reference=True)
    found = {step.name: step for step in steps(Record.model_validate(content))}
    # A is 0 where one guess in K is right and 1 where all are: balanced accuracy = 1/K + A (K - 1)/K.
    balanced = {place: 100 * (1 + a * (classes - 1)) / classes for place, a in by_place.items()}
    terms = ("vision", "connector", "comprehension", "mapping")
    assert found["reference"].end == pytest.approx(balanced["reference"])
    assert found["answers"].end == pytest.approx(balanced["answers"])
    lost = sum(found[name].lost for name in terms)
    assert lost == pytest.approx(balanced["reference"] - balanced["answers"], abs=1e-9)
    thirds = sum(found[name].lost for name in ("erased", "not_routed", "not_used"))
    assert thirds == pytest.approx(found["comprehension"].lost, abs=1e-9)
    for mode in terms:
        drop = next(d for d in content["diagnosis"]["drops"] if d["mode"] == mode)
        width = 100 * (drop["high"] - drop["low"]) * (classes - 1) / classes
        assert found[mode].high - found[mode].low == pytest.approx(width)
        assert found[mode].low <= found[mode].end <= found[mode].high


def test_the_halves_stand_where_the_image_tokens_were_not_measured() -> None:
    content = full_content(layers=(1, 1), readouts=())
    parts = content["diagnosis"]["parts"]
    del parts["erased"], parts["not_routed"]
    parts["lost_in_decoder"] = parts["total"]
    names = [step.name for step in steps(Record.model_validate(content)) if step.kind == "part"]
    assert names == ["lost_in_decoder", "not_used"]


def test_free_text_as_headline_adds_what_could_not_be_read() -> None:
    content = full_content(layers=(1, 1), readouts=())
    content["answers"]["headline_source"] = "generated"
    content["diagnosis"]["levels"]["generated"] = content["diagnosis"]["levels"]["answers"] - 0.3
    loss = {"value": 0.3, "low": 0.2, "high": 0.4, "p": 0.001, "points": 20.0}
    content["diagnosis"]["parts"]["parse_loss"] = loss
    last = steps(Record.model_validate(content))[-1]
    assert (last.name, last.lost) == ("parse_loss", pytest.approx(20.0))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_named_stage_differs_in_more_than_colour_and_chance_is_drawn(width: float) -> None:
    one = waterfall_drawing(record("small"))
    assert one is not None
    figure = drawn(one, width)
    bars = [p for axes in figure.axes for p in axes.patches if isinstance(p, Rectangle)]
    hatched = [bar for bar in bars if bar.get_hatch()]
    named = next(step for step in steps(record("small")) if step.named)
    assert named.name == "mapping"
    assert [abs(bar.get_width()) for bar in hatched] == pytest.approx([abs(named.lost)])
    bold = {t.get_text() for t in figure.findobj(Text) if t.get_fontweight() == "bold"}
    assert "Mapping\n(named)" in bold
    vertical = [line.get_xdata() for axes in figure.axes for line in axes.lines]
    assert any(np.allclose(xs, 100 / 3) for xs in vertical)


def test_null_bands_take_the_widest_of_a_layer_and_are_left_out_without_a_null() -> None:
    content = full_content(layers=(2, 2))
    bands = content["permutation"]["bands"]
    bands["llm.01.mean"], bands["llm.01.last"] = [0.1, 0.3, 0.5], [0.2, 0.4, 0.6]
    found = Record.model_validate(content)
    linear = [p for p in found.probes if p.readout == "linear"]
    places = {site: place for place, site in enumerate(site_order(linear))}
    assert list(places) == [("vision", 0), ("vision", 1), ("connector", 0), ("llm", 0), ("llm", 1)]
    shown = {place: band for place, *band in null_bands(found, linear, places)}
    assert shown[4] == pytest.approx([10.0, 35.0, 60.0])
    assert shown[0] == pytest.approx([21.0, 33.0, 44.0])
    paper = [p for p in found.probes if p.readout == "paper"]
    assert null_bands(found, paper, places) == []


def test_every_way_to_ask_is_named_by_what_is_varied() -> None:
    content = full_content(layers=(1, 1), readouts=())
    content["answers"]["order_accuracies"]["letters/7-8"] = content["answers"]["accuracy"]
    found = variants(Record.model_validate(content))
    assert [(v.group, v.name) for v in found] == [
        ("wording of the question", "free"),
        ("wording of the question", "paraphrase"),
        ("wording of the question", "letters"),
        ("order of the options", "letters: normal, benign, malignant"),
        ("order of the options", "letters: malignant, benign, normal"),
        ("order of the options", "letters/7-8"),  # of classes that the task does not have
        ("letter of the right option", "letters: right at A"),
        ("no image", "blank image"),
    ]
    assert found[4].accuracy.value == 0.49
    assert len({v.short for v in found}) == len(found)


def test_the_health_profile_shows_every_score_beside_its_noise_and_marks_what_is_noise_limited() -> None:
    of = record("small")
    one = health_drawing(of)
    assert one is not None
    assert of.health is not None
    parts = (of.health.vision, of.health.connector, of.health.llm, of.health.llm_mean)
    (axes,) = drawn(one, WIDE).axes
    marks = {
        (float(line.get_xdata()[0]), line.get_marker(), line.get_color())
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }
    assert {x for x, _, colour in marks if colour == drawing.ORANGE} == {part.fhs_noise for part in parts}
    assert {x for x, marker, _ in marks if marker != "|"} == {part.fhs for part in parts}  # others are caps
    rows = [text.get_text() for text in axes.get_yticklabels()]
    assert [("noise-limited" in row) for row in rows] == [part.noise_limited for part in parts]
    hollow = [
        line for line in axes.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata()) == 1
    ]
    assert [float(line.get_xdata()[0]) for line in hollow] == [p.fhs for p in parts if p.noise_limited]


def test_two_health_profiles_beside_each_other_have_one_axis() -> None:
    content = full_content(layers=(1, 1), readouts=())
    content["health"]["vision"] |= {"fhs": 3.0, "low": 2.5, "high": 3.5}
    wider = Record.model_validate(content)
    limits = []
    for of in (wider, record("small")):
        one = health_drawing(of, (wider, record("small")))
        assert one is not None
        (axes,) = drawn(one, COLUMN).axes
        limits.append(axes.get_xlim())
    assert limits[0] == limits[1]
    assert limits[0][1] > 3.5
