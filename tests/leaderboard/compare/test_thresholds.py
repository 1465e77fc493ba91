"""What a thresholds file may hold, and how its mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaderboard.compare.thresholds import Thresholds, read_thresholds
from leaderboard.record.record import RecordError


def test_values_of_a_task_stand_above_the_general_ones(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.yaml"
    path.write_text(
        "level: 0.01\nsmallest_regression: 2\nreadout: paper\ntasks:\n  busi:\n    smallest_regression: 0.5\n"
    )
    found = read_thresholds(path)
    assert (found.level, found.readout) == (0.01, "paper")
    assert found.smallest_regression_of("busi") == 0.5
    assert found.smallest_regression_of("phantom") == 2


def test_without_a_file_any_significant_drop_stops() -> None:
    assert (Thresholds().level, Thresholds().smallest_regression_of("busi")) == (0.05, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("level: 0.05\nlevl: 0.1\n", "thresholds.yaml:2: levl: unknown key; did you mean `level`?"),
        ("extends: other.yaml\n", "thresholds.yaml:1: extends: unknown key"),
        ("gate: true\n", "thresholds.yaml:1: gate: unknown key; known are level, smallest_regression"),
        (
            "tasks:\n  busi:\n    smalest_regression: 1\n",
            "thresholds.yaml:3: tasks.busi.smalest_regression: unknown",
        ),
        ("tasks:\n  busi:\n    level: 0.1\n", "thresholds.yaml:3: tasks.busi.level: unknown key"),
        ("\nlevel: 0\n", "thresholds.yaml:2: level: must be greater than 0"),
        ("level: 5\n", "thresholds.yaml:1: level: must be less than or equal to 0.5"),
        ("level: '0.05'\n", "thresholds.yaml:1: level: must be a valid number"),
        ("level: true\n", "thresholds.yaml:1: level: must be a valid number"),
        ("level: .nan\n", "thresholds.yaml:1: level: "),
        ("smallest_regression: -1\n", "thresholds.yaml:1: smallest_regression: must be greater"),
        ("readout: cubic\n", "thresholds.yaml:1: readout: `cubic`: must be 'linear' or 'paper'"),
        ("level: 0.05\nlevel: 0.5\n", "thresholds.yaml:2: level: stands twice"),
        ("level: [\n", "thresholds.yaml:2: not valid YAML"),
        ("- level\n", "thresholds.yaml:1: must be a mapping"),
        ("level: !!python/object:os.system {}\n", "thresholds.yaml:1: level: the tag"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "thresholds.yaml"
    path.write_text(text)
    with pytest.raises(RecordError) as refused:
        read_thresholds(path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_mistakes_are_named_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.yaml"
    path.write_text("levl: 1\nlevel: 7\n")
    with pytest.raises(RecordError, match=r"levl.*; .*level: must be"):
        read_thresholds(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"none\.yaml: cannot be read"):
        read_thresholds(tmp_path / "none.yaml")
