"""The figures, read back: where a mark lies says its number."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.figures import bars, layers
from leaderboard.figures.intervals import health_figure, spread_figure, variants
from leaderboard.figures.layers import layer_figure
from leaderboard.figures.svg import Figure, Scale, digits, fitted
from leaderboard.figures.theme import COLOURS, KINDS, style
from leaderboard.figures.waterfall import waterfall_figure
from leaderboard.figures.waterfall_steps import steps
from leaderboard.record.parts import Interval
from leaderboard.record.record import Outcomes, Record
from tests.browser import launched
from tests.harness.full_records import PATH, diagnosis, full_content, full_record
from tests.leaderboard.figures.readback import crowded, marks, of_class, parsed, paths, value_at, words

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LONG = tuple(f"a rather long name of class {letter}" for letter in "abcdefghi")
RECORDS: dict[str, dict[str, Any]] = {
    "small": {},
    "large": {"layers": (27, 48), "classes": LONG},
    "without reference": {"reference": False},
    "one layer each": {"layers": (1, 1)},
}
HOSTILE = "\"><script>alert(1)</script>\u202e&amp;'"


@cache
def record(name: str) -> Record:
    return full_record(readouts=("linear",), **RECORDS[name])


def figures(of: Record) -> dict[str, Figure]:
    found = {
        "waterfall": waterfall_figure(of),
        "layers": layer_figure(of),
        "pair": layers.pair_figure((of, record("small")), (LONG[0] * 2, LONG[1] * 2), "linear"),
        "answer target": layers.answer_target_figure(of.answer_target),
        "health": health_figure(of),
        "spread": spread_figure(of),
        "reliability": bars.reliability_figure(of.answers),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.mark.browser
@pytest.mark.parametrize("name", RECORDS)
def test_no_words_are_cut_off_and_none_cover_others(browser: Browser, name: str) -> None:
    page = browser.new_page(viewport={"width": 800, "height": 700})
    found = figures(record(name))
    assert len(found) == 7
    for key, figure in found.items():
        assert crowded(page, figure.standalone()) == [], key
        assert figure.narrow is not None
        assert figure.narrow.width <= 360
        narrow = Figure(key, "", figure.narrow)
        assert crowded(page, narrow.standalone()) == [], f"{key} for a phone"
    page.close()


@pytest.mark.parametrize("kind", ["wide", "narrow"])
@pytest.mark.parametrize("depth", [(4, 6), (27, 64)])
def test_every_layer_lies_at_its_accuracy_and_the_consumed_one_is_ringed(
    kind: str, depth: tuple[int, int]
) -> None:
    found = full_record(layers=depth)
    figure = layer_figure(found)
    assert figure is not None
    svg = getattr(figure, kind).content
    main = [p for p in found.probes if p.readout == "linear"]
    for module, pool in (("vision", "mean"), ("llm", "last"), ("llm", "mean")):
        wanted = [100 * p.balanced_accuracy.value for p in main if (p.module, p.pool) == (module, pool)]
        (line,) = paths(svg, f"line {module}-{pool}")
        assert [value_at(svg, y) for _, y in line] == pytest.approx(wanted, abs=0.05)
        xs = [x for x, _ in line]
        assert xs == sorted(xs)
    rings = [value_at(svg, float(e.get("cy") or 0)) for e in of_class(svg, "consumed")]
    assert rings == pytest.approx([100 * p.balanced_accuracy.value for p in main if p.consumed], abs=0.05)


def test_every_mark_lies_where_it_says_and_can_be_reached_by_keyboard() -> None:
    figure = layer_figure(record("small"))
    assert figure is not None
    svg = figure.wide.content
    found = marks(svg)
    for probe in record("small").probes:
        value = probe.balanced_accuracy
        shown = f"{100 * value.value:.1f}% ({100 * value.low:.1f} to {100 * value.high:.1f})"
        kind, _, y = found[f"{probe.site} {probe.pool} {shown}"]
        assert kind == f"{probe.module}-{probe.pool}"
        assert value_at(svg, y) == pytest.approx(100 * value.value, abs=0.05)
    answers = record("small").answers
    assert answers is not None
    (star,) = [y for kind, _, y in found.values() if kind == "answer"]
    assert value_at(svg, star) == pytest.approx(100 * answers.balanced_accuracy.value, abs=0.05)
    for name, one in figures(record("small")).items():
        held = of_class(one.wide.content, "mark")
        assert held, name
        assert all(e.get("tabindex") == "0" and e.get("role") == "img" and e.findtext("title") for e in held)


def test_intervals_floors_and_the_null_lie_at_their_values() -> None:
    found = full_record(layers=(27, 32))
    figure = layer_figure(found)
    assert figure is not None
    assert found.floors is not None
    assert found.permutation is not None
    svg = figure.wide.content
    vision = [p for p in found.probes if (p.readout, p.module, p.pool) == ("linear", "vision", "mean")]
    shares = [p.balanced_accuracy for p in vision]
    (band,) = paths(svg, "band vision-mean")
    highs, lows = band[: len(shares)], band[: len(shares) - 1 : -1]
    assert [value_at(svg, y) for _, y in highs] == pytest.approx([100 * v.high for v in shares], abs=0.05)
    assert [value_at(svg, y) for _, y in lows] == pytest.approx([100 * v.low for v in shares], abs=0.05)
    levels = {
        "ceiling": found.floors.reference.balanced_accuracy.value,
        "pixels": found.floors.pixels.balanced_accuracy.value,
        "chance": 1 / 3,
        "highest": found.permutation.highest,
    }
    for kind, share in levels.items():
        ((_, y),) = paths(svg, kind)[0]
        assert value_at(svg, y) == pytest.approx(100 * share, abs=0.05)
    (null,) = of_class(svg, "null")
    heights = [value_at(svg, float(y)) for y in re.findall(r"V([\d.]+)", null.get("d") or "")]
    assert heights == pytest.approx([44] * 60 + [21] * 60, abs=0.05)  # 27 + 1 + 32 layers, there and back


def test_the_null_takes_the_widest_of_a_layer_and_a_readout_without_one_shows_none() -> None:
    content = full_content(layers=(2, 2))
    bands = content["permutation"]["bands"]
    bands["llm.01.mean"], bands["llm.01.last"] = [0.1, 0.3, 0.5], [0.2, 0.4, 0.6]
    found = Record.model_validate(content)
    figure, paper = layer_figure(found), layer_figure(found, "paper")
    assert figure is not None
    assert paper is not None
    (null,) = of_class(figure.wide.content, "null")
    heights = [value_at(figure.wide.content, float(y)) for y in re.findall(r"V([\d.]+)", null.get("d") or "")]
    assert heights == pytest.approx([44] * 4 + [60] + [10] + [21] * 4, abs=0.05)
    assert "permuted" not in " ".join(said for _, said in paper.legend)
    assert of_class(paper.wide.content, "null") == []


def test_two_results_of_different_depth_are_spread_over_the_same_way() -> None:
    deep = full_record(readouts=("linear",), layers=(8, 12))
    figure = layers.pair_figure((record("small"), deep), ("first one", "second one"), "linear")
    svg = figure.wide.content
    ways = [paths(svg, f"line {kind}")[0] for kind in ("blue", "vermillion")]
    assert [len(way) for way in ways] == [4 + 1 + 6, 8 + 1 + 12]
    assert [way[0][0] for way in ways] == [ways[0][0][0]] * 2
    assert [way[-1][0] for way in ways] == [ways[0][-1][0]] * 2
    last = next(p for p in deep.probes if (p.site, p.pool) == ("llm.11", "last"))
    assert value_at(svg, ways[1][-1][1]) == pytest.approx(100 * last.balanced_accuracy.value, abs=0.05)
    assert figure.table is not None
    assert ("second one", "llm.11.last", "87.1 (83.1 to 91.1)") in figure.table[1]
    assert len(figure.table[1]) == 11 + 21 + 2


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


@pytest.mark.parametrize("kind", ["wide", "narrow"])
@pytest.mark.parametrize("reference", [True, False])
def test_the_waterfalls_bars_join_the_levels_from_reference_to_answer(kind: str, reference: bool) -> None:
    found = full_record(reference=reference)
    figure = waterfall_figure(found)
    assert figure is not None
    assert found.diagnosis is not None
    svg = getattr(figure, kind).content
    drawn = [
        (float(e.get("x") or 0), float(e.get("x") or 0) + float(e.get("width") or 0))
        for e in parsed(svg).iter("rect")
        if (e.get("class") or "").startswith("drop") and float(e.get("height") or 0) > 10
    ]
    names = ["reference", "vision", "connector", "logistic", "answers"][0 if reference else 1 :]
    levels = [100 * (1 / 3 + found.diagnosis.levels[name] * 2 / 3) for name in names]
    wanted = [x for pair in pairwise(levels) for x in sorted(pair)]
    assert [value_at(svg, x, "x") for bar in drawn for x in bar] == pytest.approx(wanted, abs=0.3)
    assert ("not assessed" in svg) != reference
    (named,) = of_class(svg, "named")  # hatched, and its words are bold: more than a colour
    assert [value_at(svg, float(named.get("x") or 0), "x")] == pytest.approx([wanted[-2]], abs=0.3)
    assert "Mapping" in "".join(e.text or "" for e in of_class(svg, "strong"))
    assert "◂ chance 33%" in words(svg)  # so far off that no common scale holds it


def test_what_cannot_be_drawn_is_left_out() -> None:
    content = full_content()
    content["diagnosis"]["levels"] = {}
    content |= {"probes": [], "health": None, "answers": None, "answer_target": None}
    bare = Record.model_validate(content)
    assert waterfall_figure(bare) is layer_figure(bare) is health_figure(bare) is spread_figure(bare) is None
    assert bars.profile_chart(bare, (0, 1)) is None
    assert bars.reliability_figure(bare.answers) is None
    assert layers.answer_target_figure(bare.answer_target) is None


def test_every_way_to_ask_is_named_by_what_is_varied_and_lies_at_its_accuracy() -> None:
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
    assert len({v.short for v in found}) == len(found)
    figure = spread_figure(Record.model_validate(content))
    assert figure is not None
    svg = figure.wide.content
    drawn = [value_at(svg, x, "x") for _, x, _ in marks(svg).values()]
    assert drawn == pytest.approx([100 * v.accuracy.value for v in found], abs=0.1)


def test_the_health_profile_shows_every_score_beside_its_noise_and_marks_what_is_noise_limited() -> None:
    figure, held = health_figure(record("small")), record("small").health
    assert figure is not None
    assert held is not None
    svg = figure.wide.content
    parts = (held.vision, held.connector, held.llm, held.llm_mean)
    noise = [value_at(svg, x, "x") for kind, x, _ in marks(svg).values() if kind == "noise"]
    assert noise == pytest.approx([part.fhs_noise for part in parts], abs=0.01)
    clear = [value_at(svg, x, "x") for kind, x, _ in marks(svg).values() if kind != "noise"]
    assert clear == pytest.approx([part.fhs for part in parts if not part.noise_limited], abs=0.01)
    hollow = [value_at(svg, float(e.get("cx") or 0), "x") for e in parsed(svg).iter("circle")]
    assert hollow == pytest.approx([part.fhs for part in parts if part.noise_limited], abs=0.01)
    assert words(svg).count("(noise-limited)") == 1


def test_two_health_profiles_beside_each_other_have_one_axis() -> None:
    content = full_content(layers=(1, 1), readouts=())
    content["health"]["vision"] |= {"fhs": 3.0, "low": 2.5, "high": 3.5}
    both = (Record.model_validate(content), record("small"))
    drawn = [health_figure(of, both) for of in both]
    ticks = [[w for w in words(one.wide.content) if re.fullmatch(r"−?[\d.]+", w)] for one in drawn if one]
    assert ticks[0] == ticks[1]
    assert float(ticks[0][-1]) >= 3


def test_bubbles_of_reliability_lie_where_confidence_and_accuracy_meet() -> None:
    figure = bars.reliability_figure(record("small").answers)
    assert figure is not None
    circles = [
        {k: float(e.get(k) or 0) for k in ("cx", "cy", "r")}
        for e in parsed(figure.wide.content).iter("circle")
    ]
    assert [value_at(figure.wide.content, c["cx"], "x") for c in circles] == pytest.approx([55, 90], abs=0.3)
    assert [value_at(figure.wide.content, c["cy"]) for c in circles] == pytest.approx([40, 80], abs=0.1)
    areas = [(c["r"] - 3) ** 2 for c in circles]
    assert areas[1] / areas[0] == pytest.approx(120 / 30, rel=0.05)


@given(st.floats(0, 1), st.floats(0, 0.2))
def test_an_accuracy_lies_on_one_scale_for_all(share: float, half: float) -> None:
    value = Interval(value=share, low=max(0, share - half), high=min(1, share + half), n=9)
    symbol = bars.accuracy_symbol("k", value, chance=0.25, majority=0.5)
    (diamond,) = paths(symbol, "point answer")
    assert sum(x for x, _ in diamond) / 4 == pytest.approx(5 + 140 * share, abs=0.06)
    (d,) = [e.get("d") or "" for e in of_class(symbol, "ends answer")]
    low, high = (float(x) for x in re.match(r"M([\d.]+),8H([\d.]+)", d).groups())  # type: ignore[union-attr]
    assert (low, high) == pytest.approx((5 + 140 * value.low, 5 + 140 * value.high), abs=0.06)
    assert [paths(symbol, kind)[0][0][0] for kind in ("chance", "majority")] == [40, 75]


def test_the_profiles_share_a_scale_and_hollow_points_are_those_limited_by_noise() -> None:
    ends = bars.profile_scale([record("small")])
    assert ends == (-0.321, 1.234)
    svg = bars.profile_chart(record("small"), ends)
    assert svg is not None
    points = list(parsed(svg).iter("circle"))
    assert [(e.get("class") or "").split()[1:] for e in points] == [
        ["vision-mean"],
        ["connector-mean"],
        ["llm-last", "hollow"],
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


@given(st.floats(-1e4, 1e4), st.floats(0.01, 1e4), st.integers(2, 12))
def test_coordinates_keep_a_tenth_of_a_pixel_and_ticks_are_round_and_on_the_axis(
    value: float, span: float, most: int
) -> None:
    written = digits(value)
    assert float(written) == pytest.approx(value, abs=0.0501)
    assert written != "-0"
    assert len(written.partition(".")[2]) <= 1
    ticks = Scale(value, value + span, 0, 100).ticks(most)
    assert 0 <= len(ticks) <= most + 1
    assert all(value - 1e-6 * span <= tick <= value + span * (1 + 1e-6) for tick in ticks)
    assert len({round(b - a, 6) for a, b in pairwise(ticks)}) <= 1


def test_a_name_is_broken_and_keeps_both_its_ends() -> None:
    assert fitted("short", 10) == "short"
    assert fitted("organisation/model-7b", 14) == "organisation/\nmodel-7b"
    cut = fitted("x" * 30 + "begin" + "m" * 100 + "-v1.5", 20)
    assert all(len(line) <= 20 for line in cut.split("\n"))
    assert cut.endswith("-v1.5")
    assert fitted("a\nb\x00\ud800", 10) == "a b  "


def test_colours_are_those_that_colour_blind_readers_can_tell_apart_in_both_schemes() -> None:
    okabe_ito = {"#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"}
    neutral = ("ink", "soft", "edge", "paper", "named", "neutral")
    assert {light for name, (light, _) in COLOURS.items() if name not in neutral} == okabe_ito
    together = [
        "vision-mean",
        "vision-regrouped",
        "connector-mean",
        "llm-last",
        "llm-mean",
        "random",
        "answer",
    ]
    assert all(len({KINDS[kind][place] for kind in together}) == len(together) for place in (0, 1))
    assert "var(" not in style("light") + style("dark")
    assert COLOURS["paper"][1] in style("dark")


def test_a_file_holds_its_style_for_light_and_dark_and_every_symbol_that_it_uses() -> None:
    for figure in figures(record("large")).values():
        whole = figure.standalone()
        assert "var(" not in whole
        assert "prefers-color-scheme: dark" in whole
        named = set(
            re.findall(r'(?:href="|url\()#([\w-]+)', re.sub(r"<style>.*?</style>", "", whole, flags=re.S))
        )
        held = re.findall(r' id="([\w-]+)"', whole)
        assert named <= set(held)
        assert len(held) == len(set(held))
        assert parsed(whole).get("role") == "group"


def test_hostile_names_stay_text_of_bounded_length() -> None:
    content = full_content(readouts=("linear",), classes=(HOSTILE, HOSTILE * 100_000, "c"))
    content["answers"]["prompt_accuracies"] = {HOSTILE * 100_000: content["answers"]["accuracy"]}
    content["answer_target"][0]["prompt"] = HOSTILE
    found = Record.model_validate(content)
    for name, figure in figures(found).items():
        whole = figure.standalone()
        assert len(whole) < 60_000, name
        assert "\u202e" not in whole
        assert not list(parsed(whole).iter("script"))


def test_the_same_record_gives_the_same_bytes_in_every_process() -> None:
    code = (
        "from tests.leaderboard.figures.test_figures import figures, record; "
        "print(''.join(figure.standalone() for figure in figures(record('small')).values()))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    drawn = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "7")
    }
    assert len(drawn) == 1
