from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.report.page import render, write_report
from harness.report.result import Result
from leaderboard.record.record import Record, RecordError
from tests.harness.full_records import ENDS, PARTS, full_content, full_record
from tests.harness.report.parsed_page import Page
from tests.harness.run.test_record import record_of

HOSTILE = "\"><script>alert(1)</script>$\\frac{$<img src=x onerror=alert(2)>&amp;'--><!--"


def page_of(record: Record | dict[str, Any]) -> Page:
    return Page(render([Result(record if isinstance(record, Record) else Record.model_validate(record))]))


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", text.replace("−", "-"))]


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return full_content()


@pytest.fixture(scope="module")
def page(content: dict[str, Any]) -> Page:
    return page_of(content)


def test_the_page_is_well_formed_and_every_identifier_is_used_once(page: Page) -> None:
    assert page.open == []
    identifiers = Counter(a["id"] for _, a in page.elements if a.get("id"))
    assert max(identifiers.values()) == 1
    used = {a[k] for _, a in page.elements for k in ("href", "xlink:href") if a.get(k)}
    used |= {"#" + name for _, a in page.elements for name in (a.get("aria-labelledby") or "").split()}
    used |= set(re.findall(r"url\((#[^)]+)\)", page.source))
    assert {"#dot-llm-last", "#key-chance", "#hatch"} <= used
    assert used - {"data:,"} <= {f"#{name}" for name in identifiers}


def test_the_verdict_stands_first_and_in_its_two_sentences(content: dict[str, Any], page: Page) -> None:
    first, second = content["diagnosis"]["sentences"]
    at = [page.text.index(part) for part in ("Verdict: mapping", first, second, "Where the signal is lost")]
    assert at == sorted(at)
    assert page.text.index("Where the signal is lost") < page.text.index("Layer by layer")
    assert page.text.index("Layer by layer") < page.text.index("Does the way of asking matter?")


@pytest.mark.parametrize("mode", list(ENDS))
def test_a_stage_is_shown_with_the_numbers_of_the_record(
    content: dict[str, Any], page: Page, mode: str
) -> None:
    drop = next(d for d in content["diagnosis"]["drops"] if d["mode"] == mode)
    name, in_a, balanced, plain, p, significant, largest, visible = page.rows["waterfall", mode]
    assert numbers(in_a) == pytest.approx([drop["value"], drop["low"], drop["high"]], abs=5e-4)
    two_thirds = [200 / 3 * drop[k] for k in ("value", "low", "high")]  # three classes: points of A to BA
    assert numbers(balanced) == pytest.approx(two_thirds, abs=0.05 + 1e-9)
    assert numbers(plain) == pytest.approx([drop["points"]], abs=0.05 + 1e-9)
    assert p == ("< 0.001" if drop["p"] < 0.001 else f"{drop['p']:.3f}")
    assert numbers(largest) == pytest.approx([100 * drop["probability_largest"]], abs=0.05)
    assert numbers(visible) == pytest.approx([drop["visible_gap"]], abs=5e-4)
    assert (significant, "(named)" in name) == (("yes", True) if mode == "mapping" else ("no", False))


def test_the_parts_hold_the_papers_own_fourth_mode(content: dict[str, Any], page: Page) -> None:
    for name in PARTS:
        part = content["diagnosis"]["parts"][name]
        shown = numbers(page.rows["parts", name][1])
        assert shown == pytest.approx([part["value"], part["low"], part["high"]], abs=5e-4)
    assert "arXiv 2604.08333" in page.rows["parts", "paper_mapping"][0]


def test_floors_maps_and_layers_are_those_of_the_record(content: dict[str, Any], page: Page) -> None:
    def shown(cell: str, value: dict[str, Any]) -> None:
        expected = [100 * value[k] for k in ("value", "low", "high")]
        assert numbers(cell) == pytest.approx(expected, abs=0.05 + 1e-9)

    for name in ("reference", "pixels", "majority"):
        row = page.rows["floors", name]
        shown(row[2], content["floors"][name]["balanced_accuracy"])
        shown(row[3], content["floors"][name]["accuracy"])
    for name, value in content["answers"]["mapped"].items():
        shown(page.rows["mapped", name][1], value)
    layers = page.tables["probes"][1:]
    assert len(layers) == len(content["probes"])
    for row, probe in zip(layers, content["probes"], strict=True):
        assert row[0].split(" ")[0] == probe["site"]
        shown(row[3], probe["balanced_accuracy"])


def test_the_confusion_matrix_has_a_column_for_no_answer(content: dict[str, Any], page: Page) -> None:
    head, *rows = page.tables["matrix"]
    assert head[1:] == [*content["task"]["classes"], "no answer"]
    assert [[int(cell) for cell in row[1:]] for row in rows] == content["answers"]["confusion"]


def test_feature_health_is_that_of_the_record(page: Page) -> None:
    shown = {row[0]: row[6:8] for row in page.tables["health"][1:]}
    assert numbers(shown["language model"][0]) == [-0.321]
    assert numbers(shown["language model"][1]) == [-0.421, -0.221]
    assert "noise-limited" in shown["language model"][1]
    assert numbers(shown["vision encoder"][0]) == [1.234]


def test_every_step_s_cost_is_shown(content: dict[str, Any], page: Page) -> None:
    shown = {row[0]: numbers(" ".join(row[1:])) for row in page.tables["cost"][1:]}
    assert shown["answers"] == pytest.approx([5.5, 55.0])
    assert len(shown) == 3


# What is taken away together, and the lines that say so.
ABSENT = {
    "answers": ["Answers: none", "Confusion matrix: not recorded: the record has no answers"],
    "diagnosis": ["Verdict and waterfall: not measured"],
    "floors health": [
        "Reference, pixel floor and blank image: not measured",
        "Feature health: not measured",
    ],
    "permutation answer_target similarity projection": [
        "Permuted-label bands: not measured",
        "Answer-target probe (does the last prompt token tell the right letter?): not measured",
        "Similarity of the connector's input and output: not measured",
        "Projection check: not needed where all layers have one small width",
    ],
    "floors.blank floors.random_vision": [
        "Blank image: not measured (a grey picture)",
        "Vision encoder with random weights: not measured (weights drawn anew)",
    ],
    "answers.confusion answers.reliability answers.mapped answers.label_prior answers.relabelling "
    "answers.auroc answers.ece answers.prompt_spread answers.order_consistency": [
        "Confusion matrix: not recorded",
        "Reliability diagram: no label scores",
        "Repairs of the label scores: not measured",
    ],
    "diagnosis.sentences diagnosis.delta diagnosis.healthy_probability similarity.cka "
    "answers.prompt_spread_interval answers.relabelling_p floors.blank_detail": [
        "Explanation in words: not recorded",
        "linear CKA not defined",
    ],
}


@pytest.mark.parametrize("taken", ABSENT)
def test_a_record_without_some_parts_renders_and_names_each(page: Page, taken: str) -> None:
    content = full_content(readouts=("linear",), layers=(2, 2))
    for part in taken.split():
        held, _, key = part.rpartition(".")
        (content[held] if held else content)[key] = None
    without = page_of(content)
    assert without.open == []
    for line in ABSENT[taken]:
        assert line in without.text
        assert line not in page.text


def test_a_diagnosis_without_levels_renders_its_table_and_names_the_figure() -> None:
    content = full_content(readouts=("linear",), layers=(2, 2))
    content["diagnosis"] |= {"levels": {}, "parts": {}, "probabilities": {}}
    page = page_of(content)
    assert "Waterfall figure: the record has no level" in page.text
    assert ("waterfall", "mapping") in page.rows
    assert "Where accuracy is lost between" not in page.text


def test_answers_alone_and_a_failed_run_render_without_a_figure_of_layers() -> None:
    page = page_of(record_of())
    assert "the layers were not watched (answers only)" in page.text
    assert "waterfall" not in page.tables
    failed = page_of(record_of(answers=None, status="failed", error="no image could be answered"))
    assert "failed : no image could be answered" in failed.text
    assert not [a for tag, a in failed.elements if tag == "figure"]


def test_without_a_reference_the_vision_encoder_is_not_assessed() -> None:
    page = page_of(full_record(reference=False, readouts=("linear",), layers=(2, 2)))
    assert "the vision encoder is not assessed" in page.text
    assert ("waterfall", "vision") not in page.rows
    assert "not assessed" in [word.strip() for word in page.words]  # in the figure's own row


def test_hostile_strings_stay_text() -> None:
    content = full_content(classes=(HOSTILE, f"b{HOSTILE}", f"c{HOSTILE}"), error=HOSTILE, status="partial")
    content["model"] |= dict.fromkeys(("name", "architecture", "engine", "dtype", "hub_id"), HOSTILE)
    content["task"]["name"] = HOSTILE
    content["provenance"] |= {"command": HOSTILE, "finished": HOSTILE, "harness_version": HOSTILE}
    content["cost"] |= {"device": HOSTILE, "seconds": {HOSTILE: 1.0}}
    content["diagnosis"] |= {
        "sentences": [HOSTILE, HOSTILE],
        "details": [HOSTILE],
        "reference": HOSTILE,
        "rule": HOSTILE,
    }
    content["diagnosis"]["parts"][HOSTILE] = content["diagnosis"]["parts"]["total"]
    content["diagnosis"]["probabilities"] = {HOSTILE: 0.9}
    content["floors"] |= {"blank_detail": HOSTILE, "random_vision_detail": HOSTILE}
    content["floors"]["reference"]["detail"] = HOSTILE
    for key in ("prompt_accuracies", "order_accuracies", "mapped"):
        content["answers"][key][HOSTILE] = content["answers"]["accuracy"]
    content["answers"]["order_accuracies"][f"{HOSTILE}/9-0-1"] = content["answers"]["accuracy"]
    content["answer_target"][0]["prompt"] = HOSTILE
    content["similarity"]["sites"] = [HOSTILE, HOSTILE]
    content["projection"]["largest_at"] = HOSTILE
    content["projection"]["balanced_accuracies"] = {HOSTILE: 0.5}
    for probe in content["probes"]:
        probe["readout"] = HOSTILE
        probe["site"] = HOSTILE
    page = page_of(content)
    assert page.open == []
    assert {"script", "img"}.isdisjoint(tag for tag, _ in page.elements)
    assert not [name for _, a in page.elements for name in a if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 20


def test_nothing_outside_the_page_is_requested(page: Page) -> None:
    text = page.source
    loading = ("src", "srcset", "href", "xlink:href", "data", "action", "poster", "background")
    asked = [a[k] or "" for _, a in page.elements for k in loading if k in a]
    assert asked
    assert all(target.startswith("#") or target == "data:," for target in asked)
    assert {"script", "iframe", "object", "embed", "base"}.isdisjoint(t for t, _ in page.elements)
    assert "@import" not in text
    assert all(found.startswith("#") for found in re.findall(r"url\(\s*[\"']?([^)]*)", text))
    assert not re.findall(r"https?://", text)


def test_figures_have_a_title_and_a_width_for_a_phone(page: Page) -> None:
    drawn = [a for tag, a in page.elements if tag == "svg" and a.get("class") in ("wide", "narrow")]
    assert len(drawn) == 2 * 7  # waterfall, two readouts, health, spread, reliability, answer target
    assert all(a["role"] == "group" and a["aria-labelledby"] for a in drawn)
    assert Counter(a["class"] for a in drawn) == {"wide": 7, "narrow": 7}
    assert all(float(a["width"] or "") <= 360 for a in drawn if a["class"] == "narrow")  # pixels


def test_a_figures_values_stand_on_its_marks_and_in_a_table(content: dict[str, Any], page: Page) -> None:
    said = re.findall(r'<g class="mark" tabindex="0" role="img"><title>(.*?)</title>', page.source)
    for probe in content["probes"]:
        value = probe["balanced_accuracy"]
        shown = f"{100 * value['value']:.1f}% ({100 * value['low']:.1f} to {100 * value['high']:.1f})"
        assert f"{probe['site']} {probe['pool']} {shown}" in said
    rows = {tuple(row) for row in page.tables["values"]}
    assert ("order of the options", "letters: malignant, benign, normal", "49.0 (45.0 to 53.0)") in rows
    assert ("120", "90.0%", "80.0%") in rows
    assert ("5", "55.0 (51.0 to 59.0)") in rows  # the answer-target probe's last layer


def test_several_results_stand_on_one_page_behind_a_table_of_contents() -> None:
    names = ["first", "second", "third"]
    page = Page(render([Result(Record.model_validate(record_of(name=name))) for name in names]))
    assert page.open == []
    assert [row[0] for row in page.tables[""][1:]] == names
    identifiers = Counter(a["id"] for _, a in page.elements if a.get("id"))
    assert max(identifiers.values()) == 1


def test_a_report_is_written_from_a_result_folder(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(json.dumps(record_of()), encoding="utf-8")
    written = write_report([tmp_path], tmp_path / "deep" / "report.html").path
    result = Result(Record.model_validate(record_of()), None, "the result folder has no samples.jsonl")
    assert written.read_text(encoding="utf-8") == render([result])
    with pytest.raises(RecordError, match="cannot be read"):
        write_report([tmp_path / "nothing"], tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_a_record_gives_the_same_page_twice() -> None:
    answered = [Result(full_record(readouts=("linear",), layers=(2, 2)))]
    assert render(answered) == render(answered)
