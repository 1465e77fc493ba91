"""The causal check in the report: every number of the record, and sentences that say what they mean."""

from __future__ import annotations

from typing import Any

import pytest

from harness.report.page import render
from harness.report.result import Result
from harness.report.view import causal_sentences
from leaderboard.record.record import Record
from tests.harness.report.parsed_page import Page
from tests.harness.report.results import few_figures


def locus(site: str, pool: str, drop: float, p: float, *, patched: bool = True) -> dict[str, Any]:
    def about(value: float) -> dict[str, Any]:
        return {"value": value, "low": value - 0.5, "high": value + 0.5, "n": 96}

    module, layer = site.split(".")
    patching = {"shift": about(2 * drop), "null": about(-0.25), "p": p / 2, "taken_over": 0.875}
    return {
        "site": site,
        "module": module,
        "layer": int(layer),
        "pool": pool,
        "erasure": {
            "rank": 2,
            "margin_drop": about(drop),
            "null": [-0.125, 0.0, 0.75],
            "p": p,
            "accuracy_drop": 0.5,
            "null_accuracy_drop": 0.0625,
        },
        "patching": patching | {"null_taken_over": 0.125} if patched else None,
    }


def record(*loci: dict[str, Any]) -> Record:
    part = {"images": 96, "seed": 0, "erasures": 20, "connector_is_only_way": True, "detail": "96 <b>images"}
    return Record.model_validate(few_figures() | {"causal": part | {"loci": loci}})


def test_every_place_is_a_row_with_the_numbers_of_the_record() -> None:
    made = record(
        locus("connector.00", "mean", 3.25, 0.0476), locus("llm.02", "last", 1.5, 0.9, patched=False)
    )
    page = Page(render([Result(made)]))
    first = page.rows["causal", "connector.00.mean"]
    assert first[1:] == [
        "3.25 (2.75 to 3.75)",
        "−0.12 to 0.75",
        "0.048",
        "50.0 (6.2)",
        "6.50 (6.00 to 7.00)",
        "−0.25 (−0.75 to 0.25)",
        "0.024",
        "87.5% (12.5%)",
    ]
    second = page.rows["causal", "llm.02.last"]
    assert (second[0], second[-1]) == ("the last prompt token after llm.02", "no donors")
    assert "96 <b>images" in page.text  # escaped


def test_sentences_name_the_places_that_the_answers_use() -> None:
    used = [locus("connector.00", "mean", 3, 0.048), locus("llm.00", "mean", 2, 0.048)]
    used += [locus("llm.01", "mean", 2, 0.048), locus("llm.03", "last", 1, 0.6)]
    erased, patched = causal_sentences(record(*used))
    places = "the connector's output and the image tokens after llm.00 and llm.01"
    assert erased.startswith(f"The answers use the class at {places}: ")
    assert patched == f"They follow the tokens of another class at {places}."


@pytest.mark.parametrize(("drop", "p"), [(0.0, 1.0), (-1.0, 0.01)])
def test_sentences_claim_nothing_without_an_effect(drop: float, p: float) -> None:
    erased, patched = causal_sentences(record(locus("connector.00", "mean", drop, p)))
    assert erased.startswith("Nowhere does erasing the class cost")
    assert patched == "They follow the tokens of another class at none of these places."


def test_a_check_that_was_not_possible_says_why_and_one_not_asked_for_nothing() -> None:
    reason = few_figures() | {"causal_detail": "the engine openai lets no one into its hidden states"}
    shown, silent = (
        Page(render([Result(Record.model_validate(one))])).text for one in (reason, few_figures())
    )
    assert "Causal check: not possible (the engine openai" in shown
    assert "Causal check" not in silent
