from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from harness.study import figures as drawn_figures
from harness.study.document import StudyError
from harness.study.figures import (
    FAMILIES,
    NOISE,
    SEEN,
    SIDES,
    UNOFFICIAL,
    accuracy_figure,
    contrast_figure,
    file_stem,
    health_figure,
    layer_figures,
    write_figures,
)
from leaderboard.compare.contrasts import FINE_TUNING
from leaderboard.figures.svg import Figure
from leaderboard.figures.theme import KINDS
from tests.browser import launched
from tests.harness.full_records import full_record
from tests.harness.study import figure_records
from tests.harness.study.figure_records import contrast, grid, named, reference_of
from tests.leaderboard.figures.readback import crowded, marks, of_class, parsed, paths, value_at, words

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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
    found = [accuracy_figure(records), health_figure(records), *layer_figures(records, "linear").values()]
    return [f for f in (*found, *(contrast_figure(held, f) for f in FAMILIES)) if f is not None]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.mark.browser
@pytest.mark.parametrize("name", WORLDS)
def test_nothing_is_cut_off_and_no_words_cover_others(browser: Browser, name: str) -> None:
    page = browser.new_page(viewport={"width": 800, "height": 1200})
    for figure in figures(name):
        assert crowded(page, figure.standalone()) == [], figure.title
        assert figure.wide.width <= 7.2 * 96  # the two columns of a journal's page
    page.close()


def test_accuracy_shows_every_value_with_its_interval_and_the_majority_class() -> None:
    records = grid(["zoo/b", "zoo/a"], ["t"])
    assert records[1].answers is not None
    held = records[1].answers.model_copy(update={"majority_accuracy": 0.3125})
    figure = accuracy_figure([record.model_copy(update={"answers": held}) for record in records])
    assert figure is not None
    svg = figure.wide.content
    found = marks(svg)
    assert {said.partition(":")[0]: kind for said, (kind, _, _) in found.items()} == {
        "zoo/a, as released": "blue",
        "zoo/b, fine-tuned (LoRA)": "vermillion",
        "zoo/b, as released": "blue",
        "reference/small, reference classifier": "green",
    }
    value = held.accuracy
    for _, x, _ in found.values():
        assert value_at(svg, x, "x") == pytest.approx(100 * value.value, abs=0.1)
    ends = {
        name
        for e in of_class(svg, "ends blue")
        for name in re.findall(r"M([\d.]+),[\d.]+H([\d.]+)", e.get("d") or "")
    }
    ((low, high),) = ends
    assert [value_at(svg, float(x), "x") for x in (low, high)] == pytest.approx(
        [100 * value.low, 100 * value.high], abs=0.1
    )
    assert len({y for _, _, y in found.values()}) == 4, "no point covers another"
    assert [w for w in words(svg) if "/" in w] == ["zoo/a", "zoo/b", "reference/small"]
    (majority,) = of_class(svg, "majority")
    at = float(re.findall(r"M([\d.]+)", majority.get("d") or "")[0])
    assert value_at(svg, at, "x") == pytest.approx(31.25, abs=0.1)


def test_accuracy_says_what_is_unofficial_seen_or_missing() -> None:
    base = full_record(readouts=())
    other = base.model_copy(update={"task": base.task.model_copy(update={"official_data": False})})
    plain = accuracy_figure([named(base, "a", "x")])
    assert plain is not None
    assert not any(sign in text for text in (*words(plain.wide.content), *plain.notes) for sign in "*+")
    marked = [named(base, "a", "x", seen_in_training=True), named(other, "b", "y"), named(base, "b", "x")]
    figure = accuracy_figure(marked)
    assert figure is not None
    said = words(figure.wide.content)
    assert {"y*", "x"} <= set(said)
    assert said.count("+") == said.count("no result") == 1
    assert {UNOFFICIAL, SEEN} <= set(figure.notes)


def test_health_shows_the_four_values_and_leaves_hollow_what_is_noise() -> None:
    record = named(full_record(readouts=()), "a", "t")
    assert record.health is not None
    assert record.answers is not None
    figure = health_figure([record, named(record, "a", "t", "lora")])
    assert figure is not None
    svg = figure.wide.content
    said = [e.findtext("title") for e in of_class(svg, "mark")]
    assert said[::2] == [
        "a, as released: 1.23 (1.13 to 1.33)",
        "a, as released: 0.88 (0.78 to 0.98)",
        "a, as released: −0.32 (−0.42 to −0.22), noise-limited",
        "a, as released 0.500 (0.400 to 0.600)",
    ]
    kinds = [kind for kind, _, _ in marks(svg).values()]
    assert kinds == ["blue", "vermillion"] * 3  # and two hollow circles
    hollow = [e.get("class") for e in parsed(svg).iter("circle")]
    assert hollow == ["point hollow blue", "point hollow vermillion"]
    assert ("hollow", NOISE) in figure.legend
    assert any("not bounded by 0 and 1" in note for note in figure.notes)


def test_layers_stand_in_the_cell_of_their_model_and_condition() -> None:
    base = full_record(readouts=("linear",))
    figure = layer_figures([named(base, "a", "t"), named(base, "b", "t", "lora")], "linear")["t"]
    svg = figure.wide.content
    vision = [p for p in base.probes if (p.module, p.pool) == ("vision", "mean")]
    first, second = paths(svg, "line vision-mean")
    assert first[0][0] < figure.wide.width / 2 < second[0][0]
    assert first[0][1] < second[0][1]
    holes = [
        float(e.get("x") or 0) > figure.wide.width / 2
        for e in parsed(svg).iter("text")
        if e.text == "not run"
    ]
    assert holes == [True, False]
    for line in (first, second):
        zero, full = (  # of the panel: the nearest labels of its axis
            min(
                (float(e.get("y") or 0) - 3.5 for e in parsed(svg).iter("text") if e.text == said),
                key=lambda y: abs(y - line[0][1]),
            )
            for said in ("0%", "100%")
        )
        shares = [100 * (zero - y) / (zero - full) for _, y in line]
        assert shares == pytest.approx([100 * p.balanced_accuracy.value for p in vision], abs=0.2)
    labels = [label for _, label in figure.legend]
    assert {"chance, and majority class", "read by the connector", "the model's answers"} <= set(labels)
    assert len(labels) == len(set(labels))


def test_layer_pages_are_for_eight_models_and_one_condition_where_none_is_tuned() -> None:
    base = full_record(readouts=("linear",))
    found = layer_figures([named(base, f"m{k:02}", "t") for k in range(9)], "linear")
    panels = {name: len(paths(figure.wide.content, "line vision-mean")) for name, figure in found.items()}
    assert panels == {"t-1": 8, "t-2": 1}
    assert layer_figures([named(base, "a", "t")], "paper") == {}
    clash = [named(base, f"m{k:02}", task) for k in range(9) for task in ("t", "t-1")]
    assert len(layer_figures(clash, "linear")) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_contrast_shows_both_values_the_difference_and_the_conclusion(family: str) -> None:
    unsure = {"value": -0.01, "low": -0.1, "high": 0.08, "p_adjusted": 0.0004, "conclusion": "undetermined"}
    held = [contrast(family, "a"), contrast(family, "b", **unsure), contrast("another question")]
    figure = contrast_figure(held, family)
    assert figure is not None
    said = [e.findtext("title") for e in of_class(figure.wide.content, "mark")]
    (first, one), (second, other) = SIDES[family]
    assert said == [
        *(
            f"{m}, {n}: {v}"
            for m in "ab"
            for n, v in ((one, "80.0% (70.0 to 88.0)"), (other, "60.0% (50.0 to 69.0)"))
        ),
        "a: 20.0 points (10.0 to 31.0)",
        "b: −1.0 points (−10.0 to 8.0)",
    ]
    assert [kind for kind, *_ in marks(figure.wide.content).values()] == [*(first, second) * 2, "difference"]
    hollow = [e.get("class") for e in parsed(figure.wide.content).iter("circle")]
    assert hollow == ["point hollow difference"]
    assert {"higher, p = 0.012", "undetermined, p < 0.001"} <= set(words(figure.wide.content))
    assert figure.legend == SIDES[family]
    assert all(a != b for a, b in zip(KINDS[first], KINDS[second], strict=True)), "colour and marker differ"


def test_there_is_no_empty_picture() -> None:
    base = full_record(readouts=())
    silent = named(base, "a", "t").model_copy(update={"answers": None, "health": None})
    reference = reference_of(base, "r", "t")
    assert accuracy_figure([]) is None
    assert accuracy_figure([silent]) is None
    assert health_figure([silent, reference]) is None
    assert layer_figures([silent, reference], "linear") == {}
    assert contrast_figure([contrast("another question")], FINE_TUNING) is None
    assert accuracy_figure([reference]) is not None


def test_hostile_names_stay_text_and_give_plain_file_names(tmp_path: Path) -> None:
    names = ["$\\frac{a$ <b>&\x01", "\ud800模型", "../../up"]
    records = [record for name in names for record in grid([name], [f"{name}/t"], tuned=False)]
    held = [contrast(FINE_TUNING, name, f"{name}/t") for name in names]
    paths = write_figures(records, held, ["linear"], tmp_path / "figures")
    assert all(path.parent == tmp_path / "figures" for path in paths)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", path.name) for path in paths)
    assert len({path.name.lower() for path in paths}) == len(paths)
    svgs = [path.read_text(encoding="utf-8") for path in paths if path.suffix == ".svg"]
    shown = "".join("".join(parsed(svg).itertext()) for svg in svgs)
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
    records = grid(["zoo/a", "zoo/b"], ["t"])
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
            assert not re.search(r"20\d\d-\d\d-\d\d", path.read_text(encoding="utf-8")), "no date"


def test_without_a_font_there_are_no_pictures_without_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn_figures, "has_fonts", lambda: False)
    paths = write_figures(grid(["zoo/a"], ["t"]), [], ["linear"], tmp_path)
    assert {path.suffix for path in paths} == {".svg"}


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
