"""The board's figures, read back: where a mark lies says its number."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.figures import bars
from leaderboard.figures.layers import layer_figure
from leaderboard.figures.svg import digits
from leaderboard.figures.waterfall import waterfall_figure
from leaderboard.record.parts import Interval
from leaderboard.record.record import Outcomes, Record
from tests.harness.full_records import full_content, full_record


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def paths(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    """Return the corners of every path of this class that is written in absolute points."""
    found = [e.get("d") or "" for e in parsed(svg).iter() if e.get("class") == kind]
    return [[(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", d)] for d in found]


def level_at(svg: str, y: float) -> float:
    """Return the percentage at a height, by the labels of the axis."""
    ticks = {
        float(text.removesuffix("%")): float(e.get("y") or 0) - 3.5
        for e in parsed(svg).iter("text")
        if (text := e.text or "").endswith("%") and e.get("text-anchor") == "end"
    }
    bottom, top = ticks[0], ticks[100]
    return 100 * (bottom - y) / (bottom - top)


@pytest.mark.parametrize("kind", ["wide", "narrow"])
@pytest.mark.parametrize("layers", [(4, 6), (27, 64)])
def test_every_layer_lies_at_its_accuracy_and_the_consumed_one_is_ringed(
    kind: str, layers: tuple[int, int]
) -> None:
    record = full_record(layers=layers)
    figure = layer_figure(record, "k")
    assert figure is not None
    svg = getattr(figure, kind)
    main = [p for p in record.probes if p.readout == "linear"]
    for module, pool in (("vision", "mean"), ("llm", "last"), ("llm", "mean")):
        wanted = [100 * p.balanced_accuracy.value for p in main if (p.module, p.pool) == (module, pool)]
        (line,) = paths(svg, f"line {module}-{pool}")
        assert [level_at(svg, y) for _, y in line] == pytest.approx(wanted, abs=0.05)
        xs = [x for x, _ in line]
        assert xs == sorted(xs)
    rings = [e for e in parsed(svg).iter() if e.get("class") == "consumed"]
    read = [100 * p.balanced_accuracy.value for p in main if p.consumed]
    assert [level_at(svg, float(e.get("cy") or 0)) for e in rings] == pytest.approx(read, abs=0.05)
    (star,) = paths(svg, "dots answer")
    assert record.answers is not None
    assert level_at(svg, star[0][1]) == pytest.approx(100 * record.answers.balanced_accuracy.value, abs=0.05)


def test_intervals_floors_and_the_null_lie_at_their_values() -> None:
    record = full_record(layers=(27, 32))
    figure = layer_figure(record, "k")
    assert figure is not None
    assert record.floors is not None
    assert record.permutation is not None
    svg = figure.wide
    shares = [p.balanced_accuracy for p in record.probes if p.readout == "linear" and p.module == "vision"]
    shares = [v for v, p in zip(shares, record.probes, strict=False) if p.pool == "mean"]
    (band,) = paths(svg, "band vision-mean")
    highs, lows = band[: len(shares)], band[: len(shares) - 1 : -1]
    assert [level_at(svg, y) for _, y in highs] == pytest.approx([100 * v.high for v in shares], abs=0.05)
    assert [level_at(svg, y) for _, y in lows] == pytest.approx([100 * v.low for v in shares], abs=0.05)
    levels = {
        "ceiling": record.floors.reference.balanced_accuracy.value,
        "pixels": record.floors.pixels.balanced_accuracy.value,
        "chance": 1 / 3,
        "highest": record.permutation.highest,
    }
    for kind, share in levels.items():
        ((_, y),) = paths(svg, kind)[0]
        assert level_at(svg, y) == pytest.approx(100 * share, abs=0.05)
    (d,) = [e.get("d") or "" for e in parsed(svg).iter() if e.get("class") == "null"]
    heights = [level_at(svg, float(y)) for y in re.findall(r"V([\d.]+)", d)]
    assert heights == pytest.approx([44] * 60 + [21] * 60, abs=0.05)  # 27 + 1 + 32 layers, there and back


def test_a_readout_without_a_null_of_its_own_shows_none() -> None:
    content = full_content(readouts=("paper",))
    content["health"] |= {"readout": "paper"}
    figure = layer_figure(Record.model_validate(content), "k")
    assert figure is not None
    assert "permuted" not in " ".join(words for _, words in figure.legend)
    assert 'class="null"' not in figure.wide


@pytest.mark.parametrize("kind", ["wide", "narrow"])
@pytest.mark.parametrize("reference", [True, False])
def test_the_waterfalls_bars_join_the_levels_from_reference_to_answer(kind: str, reference: bool) -> None:
    record = full_record(reference=reference)
    figure = waterfall_figure(record, "k")
    assert figure is not None
    svg = getattr(figure, kind)
    ticks = {
        float((e.text or "").removesuffix("%")): float(e.get("x") or 0)
        for e in parsed(svg).iter("text")
        if re.fullmatch(r"\d+%", e.text or "")
    }
    (a, at_a), (b, at_b) = sorted(ticks.items())[0], sorted(ticks.items())[-1]

    def value(x: float) -> float:
        return a + (x - at_a) / (at_b - at_a) * (b - a)

    found = record.diagnosis
    assert found is not None
    drawn = [
        (value(float(e.get("x") or 0)), value(float(e.get("x") or 0) + float(e.get("width") or 0)))
        for e in parsed(svg).iter("rect")
        if (e.get("class") or "").startswith("drop") and float(e.get("height") or 0) > 10
    ]
    names = ["reference", "vision", "connector", "logistic", "answers"][0 if reference else 1 :]
    levels = [100 * (1 / 3 + found.levels[name] * 2 / 3) for name in names]
    wanted = [tuple(sorted(pair)) for pair in pairwise(levels)]
    assert [x for bar in drawn for x in bar] == pytest.approx([x for pair in wanted for x in pair], abs=0.3)
    assert ("not assessed" in svg) != reference
    named = [e for e in parsed(svg).iter("rect") if e.get("class") == "named"]
    assert len(named) == 1


def test_what_cannot_be_drawn_is_left_out() -> None:
    content = full_content()
    content["diagnosis"]["levels"] = {}
    content |= {"probes": [], "health": None}
    record = Record.model_validate(content)
    assert waterfall_figure(record, "k") is None
    assert layer_figure(record, "k") is None
    assert bars.profile_chart(record, (0, 1)) is None


@given(st.floats(0, 1), st.floats(0, 0.2))
def test_an_accuracy_lies_on_one_scale_for_all(share: float, half: float) -> None:
    value = Interval(value=share, low=max(0, share - half), high=min(1, share + half), n=9)
    symbol = bars.accuracy_symbol("k", value, chance=0.25, majority=0.5)
    (diamond,) = paths(symbol, "point answer")
    assert sum(x for x, _ in diamond) / 4 == pytest.approx(5 + 140 * share, abs=0.06)
    (d,) = [e.get("d") or "" for e in parsed(symbol).iter() if e.get("class") == "ends answer"]
    low, high = (float(x) for x in re.match(r"M([\d.]+),8H([\d.]+)", d).groups())  # type: ignore[union-attr]
    assert (low, high) == pytest.approx((5 + 140 * value.low, 5 + 140 * value.high), abs=0.06)
    assert [paths(symbol, kind)[0][0][0] for kind in ("chance", "majority")] == [40, 75]


def test_the_profiles_share_a_scale_and_hollow_points_are_those_limited_by_noise() -> None:
    record = full_record()
    ends = bars.profile_scale([record])
    assert ends == (-0.321, 1.234)
    svg = bars.profile_chart(record, ends)
    assert svg is not None
    points = list(parsed(svg).iter("circle"))
    assert [(e.get("class") or "").split()[1:] for e in points] == [
        ["vision"],
        ["connector"],
        ["llm", "hollow"],
    ]
    ys = [float(e.get("cy") or 0) for e in points]
    assert (ys[0] - ys[1]) / (ys[0] - ys[2]) == pytest.approx((1.234 - 0.876) / (1.234 + 0.321), abs=0.01)
    assert bars.profile_scale([]) == (0, 1)


@given(st.tuples(*[st.integers(0, 500)] * 4).filter(any))
def test_outcomes_are_as_wide_as_their_shares_and_fill_the_bar(counts: tuple[int, int, int, int]) -> None:
    correct, wrong, no_answer, error = counts
    svg = bars.outcomes_bar(Outcomes(correct=correct, wrong=wrong, no_answer=no_answer, error=error))
    widths = [float(e.get("width") or 0) for e in parsed(svg).iter("rect")]
    wanted = [300 * count / sum(counts) for count in counts if count]
    assert widths == pytest.approx(wanted, abs=0.06)


@given(st.floats(-1e4, 1e4))
def test_coordinates_keep_a_tenth_of_a_pixel(value: float) -> None:
    written = digits(value)
    assert float(written) == pytest.approx(value, abs=0.0501)
    assert written != "-0"
    assert len(written.partition(".")[2]) <= 1
