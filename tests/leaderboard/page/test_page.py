from __future__ import annotations

import base64
import copy
import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.board.standing import Board
from leaderboard.page.page import render_board
from leaderboard.page.view import keys
from leaderboard.record.record import Record
from tests.harness.full_records import full_content
from tests.harness.report.parsed_page import Page
from tests.leaderboard.boards import board, content_of, entry, level, task, whole_board

HOSTILE = (
    "\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'--><!--\u202e../../etc/passwd{{ 7 * 7 }}"
)
SHOWN = HOSTILE.replace("\u202e", "\\u202e")


@pytest.fixture(scope="module")
def whole() -> Board:
    return whole_board()


@pytest.fixture(scope="module")
def page(whole: Board) -> Page:
    return Page(render_board(whole))


def section(page: Page, model: str, task_name: str) -> str:
    """Return the source of a result on its model's page."""
    start = f'<section class="result" id="model={model}&amp;task={task_name}"'
    assert page.source.count(start) == 1
    return start + page.source.split(start)[1].split("</section>")[0] + "</section>"


def part(page: Page, model: str, task_name: str) -> str:
    return Page(section(page, model, task_name)).text


def test_the_page_is_well_formed_and_every_identifier_is_used_once_and_found(page: Page) -> None:
    assert page.open == []
    identifiers = Counter(a["id"] for _, a in page.elements if a.get("id"))
    assert max(identifiers.values()) == 1
    links = {a["href"] for _, a in page.elements if a.get("href")} - {"data:,"}
    named = {f"#{name}" for _, a in page.elements for name in (a.get("aria-labelledby") or "").split()}
    painted = set(re.findall(r"url\((#[^)]+)\)", page.source))
    assert links | named | painted <= {f"#{name}" for name in identifiers}
    assert {
        "#results",
        "#model=clinic-small",
        "#model=clinic-small&task=busi",
        "#dot-llm-last",
    } <= links | painted


def test_nothing_is_asked_for_and_only_the_pages_own_style_and_script_may_run(page: Page) -> None:
    attributes = [(name, value or "") for _, found in page.elements for name, value in found.items()]
    assert not [one for one in attributes if one[0] in ("src", "style") or one[0].startswith("on")]
    assert not re.findall(r"@import|https?://|url\((?!#)", page.source)
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        (own,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page.source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_every_entry_stands_in_the_table_with_its_numbers(page: Page, whole: Board) -> None:
    head, *rows = page.tables["results sortable"]
    assert [name.split("V >")[0].strip() for name in head] == [
        *("Rank", "Model", "Task", "Accuracy", "Balanced accuracy", "Health profile", "Verdict", "Family"),
        *("Parameters", "Condition", "State"),
    ]
    assert len(rows) == len(whole.entries) == 13
    for row, one in zip(rows, whole.entries, strict=True):
        answers, record = one.record.answers, one.record
        assert answers is not None
        assert row[0] == ("– not ranked" if one.rank is None else str(one.rank))
        assert row[1].startswith(one.name)
        assert ("unofficial data" in row[1]) == (record.task.name == "phantom")
        assert ("seen in training" in row[1]) == bool(record.model.seen_in_training)
        assert ("answers only" in row[1]) == (one.name == "served/answers")
        assert row[2] == record.task.name
        shown = [float(x) for x in re.findall(r"\d+\.\d", row[3])]
        accuracy = answers.accuracy
        wanted = [accuracy.value, accuracy.low, accuracy.high, 1 / 3, answers.majority_accuracy]
        assert shown == pytest.approx([100 * x for x in wanted], abs=0.051)
        assert row[10].startswith(one.state)
    assert [row[8] for row in rows if row[1].startswith("clinic/large")] == ["34.8B", "34.8B"]


def test_profile_and_verdict_stand_in_words_too(page: Page) -> None:
    rows = page.tables["results sortable"][1:]
    by_name = {(row[1].strip(), row[2]): row for row in rows}
    row = by_name["clinic/small", "busi"]
    assert "1.23 > 0.88 > −0.32 > 0.50" in row[5]
    assert "limited by noise: language model" in row[5]
    assert row[6].split() == ["mapping", "−18.4"]
    assert (
        "vision encoder, connector, language model"
        in next(v for k, v in by_name.items() if "seen" in k[0])[5]
    )
    assert [v[5].strip() for k, v in by_name.items() if "answers only" in k[0]] == ["not watched"]


def test_a_models_page_has_every_result_with_its_figures_and_origin(page: Page, whole: Board) -> None:
    for one in whole.entries:
        model = one.name.replace("/", "-").replace("@", "-")
        said = part(page, model, one.record.task.name)
        assert one.folder in said
        assert one.state in said
        answers = one.record.answers
        assert answers is not None
        assert f"{answers.outcomes.correct} correct" in said
        assert f"{answers.outcomes.no_answer} without an answer" in said
        assert ("Layer by layer" in said) == ("Feature health" in said) == bool(one.record.probes)
        assert "title = {Images}" in said
    said = part(page, "clinic-small", "busi")
    assert "It is lost at the answer." in said
    assert "Relabel the answers." in said
    assert "As submitted, not computed anew: cost , provenance" in said
    assert "the written answers" not in said
    assert "as submitted" not in part(page, "reference-resnet", "busi").lower()
    assert "not measured; the layers were not watched" in part(page, "served-answers", "busi")
    assert "on 40 images of busi version 1" in part(page, "clinic-small-lora", "phantom")


def test_bases_other_conditions_and_references_stand_beside_a_result(page: Page) -> None:
    def beside(model: str) -> list[list[str]]:
        tables = Page(section(page, model, "busi")).tables
        return [row[:3] for row in tables["beside"][1:]] if "beside" in tables else []

    small = beside("clinic-small")
    assert [row[:2] for row in small] == [
        ["this model", "clinic/small"],
        ["the same, after LoRA fine-tuning", "clinic/small@lora"],
        ["its base", "general/small"],
        ["reference", "reference/resnet"],
        ["reference", "reference/mixer"],
        ["reference R of the verdict", "a reference"],
    ]
    assert [float(re.findall(r"\d+\.\d", row[2])[0]) for row in small] == [74.0, 86.0, 70.0, 95.0, 88.0, 94.0]
    assert [row[0] for row in beside("served-answers")] == ["this model", "reference", "reference"]
    assert beside("reference-resnet") == []
    assert page.source.count('Made from <a href="#model=general-small">') == 2


def test_joined_models_stand_in_their_order_with_what_is_joined(page: Page, whole: Board) -> None:
    rows = page.tables["together sortable"][1:]
    assert [row[0].split()[0] for row in rows] == ["–", "1", "1", "3", "4"]
    assert [row[1].removesuffix("reference") for row in rows] == [one.name for one in whole.joined]
    assert rows[1][4].split() == ["0.857", "(0.807", "to", "0.907)"]
    assert rows[4][4].split()[0] == "−0.200"
    assert page.text.count("Over all tasks together: mean A 0.857 (0.807 to 0.907), rank 1.") == 1
    assert page.text.count("Over all tasks together: mean A") == len(whole.joined)
    assert "The mean over the tasks busi and phantom of chance-corrected accuracy" in page.text


def test_one_task_is_not_joined_and_incomplete_models_are_named_as_such(whole: Board) -> None:
    alone = Page(render_board(replace(whole, tasks=whole.tasks[:1], entries=whole.entries[:7], joined=())))
    assert "All tasks together" not in alone.text
    none = Page(render_board(replace(whole, joined=())))
    assert "No model has a complete result on every task yet" in none.text


def test_a_board_without_entries_says_so() -> None:
    shown = Page(render_board(board([], [])))
    assert "This board has no entries yet." in shown.text
    assert "0 models on 0 tasks" in shown.text


def test_a_record_of_nothing_but_its_name_is_shown_as_such() -> None:
    content = content_of("empty", "busi", 0.5, plain=True)
    content |= {"answers": None, "status": "partial", "error": "3 images are missing"}
    shown = Page(render_board(board([entry(content, "x", level=level(0.5))], [task("busi")])))
    assert "This result is partial : 3 images are missing. It is ranked nowhere." in shown.text
    assert "Answers: none in this record." in shown.text
    assert shown.tables["results sortable"][1][3] == "– not measured"


def test_the_same_board_gives_the_same_bytes_in_every_process(whole: Board) -> None:
    code = (
        "import hashlib; from leaderboard.page.page import render_board; from tests.leaderboard.boards import "
        "whole_board; print(hashlib.sha256(render_board(whole_board()).encode()).hexdigest())"
    )
    wanted = hashlib.sha256(render_board(whole).encode()).hexdigest()
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert done.stdout.strip() == wanted


def replaced(value: Any, by: str, kept: frozenset[str]) -> Any:
    """Return the content with every string in it replaced but for the values of the `kept` keys."""
    if isinstance(value, dict):
        return {key: one if key in kept else replaced(one, by, kept) for key, one in value.items()}
    if isinstance(value, list):
        return [replaced(one, by, kept) for one in value]
    return by if isinstance(value, str) else value


CLOSED = frozenset(
    {
        "status",
        "role",
        "condition",
        "headline_source",
        "module",
        "pool",
        "verdict",
        "part",
        "schema_version",
        "drops",
    }
    | {"health", "site", "sites", "probes", "bands", "levels", "accuracies", "probabilities", "classes"}
)


@pytest.mark.parametrize("text", [HOSTILE, HOSTILE * 100_000, "\u0301" * 10_000 + "\u202e" * 10_000])
def test_hostile_strings_are_text_of_bounded_length(text: str) -> None:
    content = replaced(full_content(readouts=("linear",)), text, CLOSED)
    content["task"]["classes"] = [text, text + "b", text + "c"]
    content["probes"][0] |= {"readout": text}
    content["provenance"]["packages"] = {text: text}
    many = max(1, 1_000_000 // len(text))
    content["model"]["remarks"] = [text] * many
    content["diagnosis"]["details"] = [text] * many
    held = entry(content, text, folder=text, declared=(text,) * many)
    held = replace(held, name=text)
    strange = task(text, title=text, modality=text, licence=text, citation=text, classes=(text,) * many)
    source = render_board(board([held], [strange]))
    shown = Page(source)
    assert len(source) < 400_000
    assert [tag for tag, _ in shown.elements if tag in ("script", "img", "iframe", "object", "a2")] == [
        "script"
    ]
    assert not [a for _, a in shown.elements for name in a if name.startswith("on")]
    assert "\u202e" not in source
    identifiers = {a["id"] or "" for _, a in shown.elements if a.get("id")}
    assert all(re.fullmatch(r"[A-Za-z0-9=&-]+", one) for one in identifiers)
    if text == HOSTILE:
        assert SHOWN[:72] in "".join(shown.words)
        assert SHOWN in "".join(shown.words)


def test_names_that_look_alike_in_an_address_keep_pages_of_their_own() -> None:
    names = ["a/b", "a-b", "A/B", "a/b-2", "\u202e", ""]
    entries = [entry(content_of(name, "busi", 0.5, plain=True), "x") for name in names]
    shown = Page(render_board(board(entries, [task("busi")])))
    pages = [a["id"] for tag, a in shown.elements if tag == "article"]
    assert len(set(pages)) == len(names)


@given(st.lists(st.text(max_size=8), max_size=12))
def test_every_name_has_a_key_of_its_own_that_can_stand_anywhere(names: list[str]) -> None:
    found = keys(names)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(found)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key) for key in found.values())


def test_a_hundred_large_entries_stay_below_six_megabytes() -> None:
    full = Record.model_validate(full_content(layers=(27, 32), readouts=("linear",)))
    names = [f"organisation/model-{k:02d}" for k in range(20)]
    tasks = [task(f"task-{k}") for k in range(5)]
    entries = []
    for one in tasks:
        part = full.task.model_copy(update={"name": one.name})
        for k, name in enumerate(names):
            model = full.model.model_copy(update={"name": name, "role": "reference" if k < 4 else "model"})
            changes: dict[str, Any] = {"model": model, "task": part}
            if k < 4:
                changes |= {"probes": (), "diagnosis": None, "health": None}
            record = full.model_copy(update=changes)
            entries.append(replace(_TEMPLATE, name=name, record=record))
    assert len(render_board(board(entries, tasks))) < 6_000_000


_TEMPLATE = entry(content_of("x", "busi", 0.5, plain=True), "family")


def test_rendering_changes_nothing_in_the_board(whole: Board) -> None:
    before = copy.deepcopy([one.record for one in whole.entries])
    render_board(whole)
    assert before == [one.record for one in whole.entries]


def test_what_came_out_when_an_entry_was_run_again_stands_on_the_models_page() -> None:
    text = " ".join(render_board(whole_board()).split())
    assert "98.7% of the test images got the same answer, and 85.3% the right one, by" in text
