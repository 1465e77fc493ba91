from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.plain import NAME, TEXT, plain, plain_record
from leaderboard.record.record import Record
from tests.harness.full_records import full_content

REORDERS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.text(max_size=40), st.integers(1, 30))
def test_a_plain_text_is_bounded_and_nothing_in_it_reorders_or_breaks_what_stands_around(
    text: str, most: int
) -> None:
    shown = plain(text, most)
    assert not [c for c in shown if unicodedata.bidirectional(c) in REORDERS]
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\t\n"]
    assert len(shown) <= 6 * most + 30  # a code such as \u202e takes six letters
    assert ("characters)" in shown) == (len(text) > most)


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=40))
def test_a_short_text_of_seen_characters_stays_as_it_is(text: str) -> None:
    assert plain(text, 40) == text


def test_what_is_not_seen_is_written_out() -> None:
    assert plain("exe\u202egnp\x00.\ud800") == "exe\\u202egnp\\u0000.\\ud800"
    assert plain("two\nlines\tof ü and שלום") == "two\nlines\tof ü and שלום"
    assert plain("x" * 10_000_000, 3) == "xxx… (10,000,000 characters)"


def test_a_record_keeps_its_numbers_and_loses_the_length_of_its_strings() -> None:
    content = full_content()
    long = "n" * 10_000_000
    content["model"]["name"] = content["task"]["name"] = content["provenance"]["command"] = long
    content["task"]["classes"] = [f"{long}{k}" for k in range(3)]
    content["answers"]["prompt_accuracies"] = {f"{long}{k}": content["answers"]["accuracy"] for k in range(3)}
    content["configuration"] = {long: long}
    shown = plain_record(Record.model_validate(content))
    assert len(shown.model_dump_json()) < 100_000
    assert shown.model.name == f"{'n' * NAME}… (10,000,000 characters)"
    assert shown.provenance.command.startswith("n" * TEXT)
    assert shown.answers is not None
    assert len(shown.answers.prompt_accuracies) == 3  # none lost, although they look alike when cut
    whole = full_content()
    plainly = plain_record(Record.model_validate(whole))
    assert plainly == Record.model_validate(whole | {"configuration": {}})


@pytest.mark.parametrize("key", ["band", "a\u202eb"])
def test_a_band_is_still_found_by_the_name_of_its_layer(key: str) -> None:
    content = full_content()
    content["probes"][0]["site"] = key
    content["permutation"]["bands"][f"{key}.mean"] = [0.1, 0.2, 0.3]
    shown = plain_record(Record.model_validate(content))
    assert shown.permutation is not None
    assert f"{shown.probes[0].site}.mean" in shown.permutation.bands
