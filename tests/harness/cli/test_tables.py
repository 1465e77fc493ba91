from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.console import print_table
from harness.run.rows import sparkline, verdict_cell
from leaderboard.record.record import Record
from tests.harness.run.test_record import record_of


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


def drop(mode: str, points: float) -> dict[str, object]:
    numbers = dict.fromkeys(("low", "high", "p", "probability_largest"), 0.5)
    return {"mode": mode, "value": points / 100, "points": points, **numbers}


@pytest.mark.parametrize(
    ("verdict", "points", "said"),
    [
        ("connector", (2.0, 8.25, 9.5), "connector (-8.2)"),
        ("healthy", (-1.0, 1.0, 2.0), "healthy (comprehension -2.0)"),
        ("undetermined", (-3.0, -2.0, -1.0), "undetermined (comprehension +1.0)"),
    ],
)
def test_a_verdict_is_shown_with_its_drop_or_the_largest(
    verdict: str, points: tuple[float, ...], said: str
) -> None:
    modes = ("vision", "connector", "comprehension")
    diagnosis = {
        "verdict": verdict,
        "stages": [],
        "details": [],
        "drops": [drop(mode, value) for mode, value in zip(modes, points, strict=True)],
        "reference": None,
        "smallest_visible_gap": None,
    }
    assert verdict_cell(Record.model_validate(record_of(diagnosis=diagnosis))) == said


def test_without_a_diagnosis_nothing_is_said() -> None:
    assert verdict_cell(Record.model_validate(record_of())) == "-"
