from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from leaderboard.words import plain, size

REORDERS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.text(max_size=40), st.integers(1, 30))
def test_a_plain_text_is_bounded_and_nothing_in_it_reorders_or_breaks_what_stands_around(
    text: str, most: int
) -> None:
    shown = plain(text, most)
    assert not [c for c in shown if unicodedata.bidirectional(c) in REORDERS]
    assert not [c for c in shown if unicodedata.category(c)[0] == "C" and c not in "\t\n"]
    assert len(shown) <= 6 * most + 30  # a code such as \u202e takes six letters
    assert ("characters)" in shown) == (len(text) > most)


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=40))
def test_a_short_text_of_seen_characters_stays_as_it_is(text: str) -> None:
    assert plain(text, 40) == text


def test_what_is_not_seen_is_written_out() -> None:
    assert plain("exe\u202egnp\x00.\ud800") == "exe\\u202egnp\\u0000.\\ud800"
    assert plain("two\nlines\tof ü and שלום") == "two\nlines\tof ü and שלום"
    assert plain("x" * 10_000_000, 3) == "xxx… (10,000,000 characters)"
    assert plain("e" + "\u0301" * 100) == "e\u0301\u0301\u0301"


def test_sizes_are_written_as_people_write_them() -> None:
    given = [912_736, 1_640_000, 11_000_000, 999_600_000, 2_210_000_000, 34_750_000_000, 900]
    assert [size(n) for n in given] == ["0.913M", "1.64M", "11M", "1B", "2.21B", "34.8B", "900"]
