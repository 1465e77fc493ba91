from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import binomtest

from harness.report.page import render, write_report
from harness.report.pair import SHOWN, compare
from harness.report.result import Result
from leaderboard.compare.contrasts import FINE_TUNING, answer_contrast
from leaderboard.record.record import Record
from leaderboard.record.samples import SampleLine
from tests.harness.full_records import full_record
from tests.harness.report.parsed_page import Page
from tests.harness.report.results import IMAGES, answers, few_figures, filed

ON_THE_WAY = ("vision.mean", "connector.mean", "llm.last")


def result(seed: int, **options: object) -> Result:
    return Result(full_record(readouts=("linear",), **options), tuple(answers(seed)))


@pytest.fixture(scope="module")
def pair() -> tuple[Result, Result]:
    return result(1), result(2, layers=(7, 9))


def right(line: SampleLine) -> bool:
    return line.outcome == "correct"


def test_the_difference_is_the_paired_one_of_the_answers(pair: tuple[Result, Result]) -> None:
    found = compare(*pair)
    assert pair[0].test is not None
    assert pair[1].test is not None
    both = list(zip(pair[0].test, pair[1].test, strict=True))
    first = sum(right(a) and not right(b) for a, b in both)
    second = sum(right(b) and not right(a) for a, b in both)
    assert found.contrast is not None
    assert found.contrast.value == pytest.approx((first - second) / IMAGES)
    assert found.contrast.p == pytest.approx(binomtest(first, first + second, 0.5).pvalue)
    assert found.counts is not None
    assert (found.counts.first, found.counts.second) == (first, second)
    assert found.counts.both == sum(right(a) and right(b) for a, b in both)
    assert sum((found.counts.both, found.counts.first, found.counts.second, found.counts.neither)) == IMAGES
    one, other = (r.measured for r in pair)
    assert one is not None
    assert other is not None
    assert replace(answer_contrast(FINE_TUNING, one, other), family="report") == found.contrast


@pytest.fixture(scope="module")
def page(pair: tuple[Result, Result]) -> Page:
    return Page(render(pair))


def test_the_page_states_it_with_interval_and_p(pair: tuple[Result, Result], page: Page) -> None:
    found = compare(*pair).contrast
    assert found is not None
    name, _, _, difference, p = page.rows["summary", "accuracy"]
    shown = [float(x) for x in re.findall(r"-?\d+\.\d", difference.replace("−", "-"))]
    assert shown == pytest.approx([100 * found.value, 100 * found.low, 100 * found.high], abs=0.05 + 1e-9)
    assert p == f"{found.p:.3f} (McNemar)"
    assert name == "Accuracy (headline)"
    assert page.open == []


def test_images_that_one_alone_got_right_are_shown_by_how_much_the_two_differ(
    pair: tuple[Result, Result], page: Page
) -> None:
    found = compare(*pair)
    assert len(found.only_first) == len(found.only_second) == SHOWN
    assert all(right(one.first.line) and not right(one.second.line) for one in found.only_first)
    assert all(right(one.second.line) and not right(one.first.line) for one in found.only_second)
    assert all(one.first.line.id == one.second.line.id == one.id for one in found.only_first)
    gaps = [abs((one.first.right or 0) - (one.second.right or 0)) for one in found.only_second]
    assert gaps == sorted(gaps, reverse=True)
    shown = page.text[page.text.index("Right by the first alone") : page.text.index("Of each kind the")]
    assert all(one.id in shown for one in (*found.only_first, *found.only_second))


def test_free_text_is_compared_where_both_wrote_and_left_out_elsewhere(pair: tuple[Result, Result]) -> None:
    assert [row.key for row in compare(*pair).rows][:2] == ["accuracy", "text"]
    assert pair[1].test is not None
    silent = replace(
        pair[1], test=tuple(line.model_copy(update={"generated_outcome": None}) for line in pair[1].test)
    )
    assert "text" not in [row.key for row in compare(pair[0], silent).rows]


def test_results_that_cannot_be_compared_say_why(pair: tuple[Result, Result]) -> None:
    first, second = pair
    assert second.test is not None
    other_pixels = replace(
        second, test=(second.test[0].model_copy(update={"pixel_hash": "1"}), *second.test[1:])
    )
    task = second.record.task.model_copy(update={"name": "other"})
    other_task = replace(second, record=second.record.model_copy(update={"task": task}))
    no_samples = replace(second, test=None, reason="the result folder has no samples.jsonl")
    reasons = {
        "test image 1 (test/00000): pixel_hash '0' and '1'": other_pixels,
        "task name 't' and 'other'": other_task,
        "clinic/model: the result folder has no samples.jsonl": no_samples,
    }
    for reason, other in reasons.items():
        found = compare(first, other)
        assert found.contrast is None
        assert reason in (found.reason or "")


def test_a_page_of_two_that_cannot_be_compared_says_so_and_shows_both() -> None:
    records = [Record.model_validate(few_figures(task_name=name)) for name in ("first task", "second task")]
    page = Page(render([Result(record, tuple(answers(1))) for record in records]))
    assert (
        "The two cannot be compared: clinic/model and clinic/model cannot be compared: task name" in page.text
    )
    assert page.rows["summary", "accuracy"][3:] == ["", ""]
    assert "clinic/model on first task" in page.text
    assert "clinic/model on second task" in page.text
    assert "Where they disagree" not in page.text


def test_both_curves_stand_in_one_figure_with_all_their_values(
    pair: tuple[Result, Result], page: Page
) -> None:
    rows = [row for row in page.tables["values"] if row[0] == pair[0].name == pair[1].name]
    drawn = [p for one in pair for p in one.record.probes if f"{p.module}.{p.pool}" in ON_THE_WAY]
    assert len(rows) == len(drawn) + 2  # and two answers
    assert {row[1] for row in rows} >= {"vision.00.mean", "connector.00.mean", "llm.08.last", "answer"}
    assert any("of the two models, linear readout" in word for word in page.words)


def test_two_folders_make_one_page_and_three_stand_below_each_other(tmp_path: Path) -> None:
    folders = [filed(tmp_path / name, answers(k), name=f"m/{name}") for k, name in enumerate("abc")]
    two = write_report(folders[:2], tmp_path / "two.html").path.read_text(encoding="utf-8")
    assert "m/a against m/b on t" in Page(two).text
    three = Page(write_report(folders, tmp_path / "three.html").path.read_text(encoding="utf-8"))
    assert [row[0] for row in three.tables[""][1:]] == ["m/a", "m/b", "m/c"]
    assert "m/a against" not in three.text
    assert three.open == []
