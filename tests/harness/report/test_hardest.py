from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.report.hardest import SHOWN, hardest
from harness.report.page import render, write_report
from harness.report.result import Result, read_result
from leaderboard.record.record import Record, RecordError
from leaderboard.record.samples import SampleLine
from tests.harness.full_records import full_content, full_record
from tests.harness.report.parsed_page import Page
from tests.harness.report.results import CLASSES, IMAGES, answers, asked, few_figures, filed


def behind(line: SampleLine) -> float:
    """How far the right class's probability is behind the likeliest other one's, by the plain definition."""
    assert line.scores is not None
    powers = [math.exp(score) for score in line.scores]
    shares = [power / sum(powers) for power in powers]
    return max(share for k, share in enumerate(shares) if k != line.label) - shares[line.label]


def changed(lines: list[SampleLine], place: int, **changes: object) -> list[SampleLine]:
    line = SampleLine.model_validate(lines[place].model_dump() | changes)
    return [*lines[:place], line, *lines[place + 1 :]]


def test_the_images_furthest_from_the_right_answer_come_first() -> None:
    lines = answers(1)
    found = hardest(Result(full_record(), tuple(lines)))
    expected = sorted(lines, key=behind, reverse=True)[:SHOWN]
    assert [one.line.id for one in found.images] == [line.id for line in expected]
    first = found.images[0]
    assert first.right is not None
    assert first.given is not None
    assert first.given - first.right == pytest.approx(behind(expected[0]))
    assert (found.ranked, found.errors, found.reason) == (True, 0, None)


def test_images_that_could_not_be_asked_are_counted_and_left_out() -> None:
    lines = changed(answers(1), 3, scores=None, predicted=None, outcome="error", error="out of memory")
    found = hardest(Result(full_record(), tuple(lines)))
    assert found.errors == 1
    assert found.ranked
    assert lines[3].id not in [one.line.id for one in found.images]


def test_without_label_scores_the_images_not_answered_right_stand_in_their_order() -> None:
    lines = [line.model_copy(update={"scores": None}) for line in answers(1)]
    found = hardest(Result(full_record(), tuple(lines)))
    wrong = [line.id for line in lines if line.outcome != "correct"]
    assert [one.line.id for one in found.images] == wrong[:SHOWN]
    assert not found.ranked
    assert found.images[0].right is None
    right = tuple(line.model_copy(update={"outcome": "correct"}) for line in lines)
    assert hardest(Result(full_record(), right)).reason == "every test image was answered right"


def test_the_page_says_what_was_answered_as_text(tmp_path: Path) -> None:
    lines = answers(1)
    place = max(range(IMAGES), key=lambda i: behind(lines[i]))
    ways = [asked((2, 0, 1), 1), asked((0, 1, 2), None)]
    said = "<b>bold</b>\n" + "long " * 1000
    lines = changed(lines, place, text=said, read=None, generated_outcome="no_answer", orders=ways)
    path = write_report([filed(tmp_path / "a", lines)], tmp_path / "page.html").path
    text = Page(path.read_text(encoding="utf-8")).text
    card = text[text.index(f"1. {lines[place].id}") : text.index("2. test/")]
    classes = full_content()["task"]["classes"]
    assert f"True class: {classes[lines[place].label]}" in card
    assert f"Answered {classes[lines[place].predicted or 0]}" in card
    assert "<b>bold</b> long" in card
    assert "(5,012 characters)" in card
    assert "In free text (no answer)" in card
    assert "Asked in 2 other ways: benign 1, no answer 1" in card
    assert "letters (malignant, normal, benign): benign" in " ".join(card.split())
    assert "<b>" not in path.read_text(encoding="utf-8").split("<main")[1].split("<section")[-5]


def test_a_result_without_its_samples_is_reported_and_says_so(tmp_path: Path) -> None:
    path = write_report([filed(tmp_path, None)], tmp_path / "page.html").path
    page = Page(path.read_text(encoding="utf-8"))
    assert "Hardest images: not available (the result folder has no samples.jsonl)" in page.text
    assert "Which class is taken for which" in page.text


def test_samples_that_do_not_fit_their_record_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"samples.jsonl: 149 test images, but record.json says 150"):
        read_result(filed(tmp_path / "few", answers(1)[:-1]))
    for number, changes in enumerate(({"label": CLASSES}, {"predicted": -1}, {"scores": (1.0, 2.0)})):
        lines = changed(answers(1), 7, **changes)
        with pytest.raises(RecordError, match=r"samples.jsonl: image test/00007: names a class"):
            read_result(filed(tmp_path / str(number), lines))
    broken = filed(tmp_path / "broken", answers(1))
    (broken / "samples.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(RecordError, match=r"samples.jsonl:1: "):
        read_result(broken)


def test_a_record_shown_without_its_folder_says_that_the_images_are_missing() -> None:
    assert (
        "the report was made without the result's folder"
        in Page(render([Result(Record.model_validate(few_figures()))])).text
    )
