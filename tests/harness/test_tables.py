from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tables import print_table, sparkline


@given(st.lists(st.floats(-0.5, 1.5), max_size=40))
def test_a_sparkline_has_one_bar_a_share_and_higher_bars_for_more(shares: list[float]) -> None:
    bars = sparkline(shares)
    assert len(bars) == len(shares)
    assert set(bars) <= set("▁▂▃▄▅▆▇█")
    for (low, low_bar), (high, high_bar) in zip(
        sorted(zip(shares, bars, strict=True)), sorted(zip(shares, bars, strict=True))[1:], strict=False
    ):
        assert low <= high
        assert low_bar <= high_bar


def test_the_ends_of_a_sparkline() -> None:
    assert sparkline([0, 1]) == "▁█"
    assert sparkline([-0.3]) == "▁"  # below nothing is still nothing
    assert sparkline([]) == ""


def test_without_a_terminal_a_table_is_plain_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Plan", ("model", "state"), [("zoo/llava", "runs"), ("m", "[skipped]")])
    assert capsys.readouterr().out == "Plan\nmodel      state\nzoo/llava  runs\nm          [skipped]\n\n"


def test_a_table_without_rows_still_shows_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Plan", ("model", "state"), [])
    assert capsys.readouterr().out == "Plan\nmodel  state\n\n"
