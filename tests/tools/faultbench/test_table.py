"""The page's numbers against ones counted by hand."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from tests.leaderboard.figures.readback import marks, value_at
from tools.faultbench.figure import detection_svg
from tools.faultbench.handmade import fault, healthy, trap
from tools.faultbench.results import Result
from tools.faultbench.table import page


def rows(text: str, section: str) -> dict[str, list[str]]:
    """Return the cells of a section's table by the first cell, which may stand for several columns."""
    (part,) = (p for p in text.split("\n## ") if p.startswith(section))
    cells = [
        [c.strip() for c in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("| ")
    ]
    return {row[0]: row[1:] for row in cells[2:]}


@pytest.fixture(scope="module")
def results() -> list[Result]:
    """Six models of the seeds that are reported and one of the other.

    Strong: 12 cases of which 11 right, 1 undetermined. Mild: down 7 points, 4 right, 1 wrong, 1 undetermined,
    and one more wrong that is down 12. Innocent: 6 healthy, 1 trap blamed, 1 not.
    """
    made: list[Result] = []
    models = [(f, s) for s in (1, 2) for f in ("llava", "qwen2.5-vl", "gemma3")]
    for place, (family, seed) in enumerate(models):
        one = {"family": family, "seed": seed}
        first = place == 0
        made += [
            healthy(accuracy=85.0, test=1000, levels={"reference": 0.82, "vision": 0.80}, **one),
            healthy(accuracy=86.0, draw=20, test=2000, verdict="undetermined" if first else "healthy", **one),
            fault("weak_vision", "undetermined" if first else "vision", accuracy=60.0 - place, **one),
            fault("swapped", "mapping", accuracy=55.0, expected=("mapping",), **one),
            fault(
                "weak_vision",
                ("connector", "undetermined", "vision")[min(place, 2)],
                severity="mild",
                accuracy=79.0,
                draw=20,
                test=2000,
                **one,
            ),
        ]
    made += [
        fault(
            "lossy", "mapping", severity="mild", accuracy=74.0, draw=20, test=2000, expected=("connector",)
        ),
        trap("shuffled_labels", "no_signal"),
        trap("shuffled_labels", "vision", draw=61, family="gemma3"),
        trap("pass_through", "healthy", draw=0, expected=("healthy",)),
        healthy(seed=0, accuracy=80.0),
        fault("weak_vision", "mapping", seed=0, accuracy=70.0),
        fault("stretched", "connector", role="mismatch", expected=(), accuracy=45.0),
    ]
    return [replace(r, finished="2026-11-24T01:02:03+00:00", versions={"phantom": 2}) for r in made]


@pytest.fixture(scope="module")
def text(results: list[Result]) -> str:
    return page(results, command="make faultbench", planned=len(results) + 3)


def test_summary_counts_the_reported_seeds(text: str) -> None:
    summary = rows(text, "In short")
    assert summary["strong faults named right"][1:3] == ["11 of 12", "6"]
    assert summary["strong faults named right"][3].startswith("91.7% (")
    right, wrong = (
        summary[f"mild faults (answers down 5 to 10 points) named {which}"] for which in ("right", "wrong")
    )
    assert (right[1], wrong[1]) == ("4 of 6", "1 of 6")
    assert summary["healthy models and traps blamed"][1] == "1 of 15"
    assert summary["shuffled labels called `no_signal` (all seeds)"][1] == "1 of 2"


def test_faults_are_counted_by_kind_and_severity(text: str) -> None:
    (part,) = (p for p in text.split("\n## ") if p.startswith("Planted faults"))
    cells = [
        [c.strip() for c in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("| ")
    ]
    found = {(row[0], row[1]): row[2:] for row in cells[2:]}
    assert found["weak vision", "strong"] == ["vision", "27.5 (25.0 to 30.0)", "5", "0", "1", "0 / 1 / 0"]
    assert found["weak vision", "mild"] == ["vision", "7.0 (7.0 to 7.0)", "4", "1", "1", "0 / 0 / 0"]
    assert found["lossy", "mild"] == ["connector", "12.0 (12.0 to 12.0)", "0", "1", "0", "0 / 0 / 0"]
    assert ("stretched", "strong") not in found


def test_innocent_are_counted_apart(text: str) -> None:
    found = rows(text, "Healthy models and traps")
    assert found["healthy"] == ["12", "0", "11", "0", "1"]
    assert found["healthy, seed 0"] == ["1", "0", "1", "0", "0"]
    assert found["shuffled labels"] == ["2", "1", "1", "1", "0"]
    assert found["pass through"] == ["1", "0", "1", "0", "0"]


def test_confusion_adds_up_and_leaves_out_what_is_not_scored(text: str) -> None:
    found = rows(text, "Expected and said")
    said = ("vision", "connector", "comprehension", "mapping", "healthy", "no_signal", "undetermined")
    counted = {row: dict(zip(said, cells, strict=True)) for row, cells in found.items()}
    assert counted["vision"] == dict.fromkeys(said, "") | {
        "vision": "9", "connector": "1", "undetermined": "2"
    }  # fmt: skip
    assert sum(int(cell or 0) for row in found.values() for cell in row) == 12 + 7 + 12 + 3
    assert rows(text, "Interface mismatches")["stretched"][0] == "40.0 (40.0 to 40.0)"


def test_page_says_how_it_was_made_and_what_is_missing(text: str, results: list[Result]) -> None:
    assert "`make faultbench`" in text
    assert "2026-11-24" in text
    assert "phantom 2" in text
    assert "Not finished: 3 cases are still to run" in text
    assert "chosen on the models of seed 0" in text
    whole = page(results, command="make faultbench", planned=len(results))
    assert "Not finished" not in whole
    assert "different versions" not in whole
    mixed = [replace(results[0], versions={"phantom": 1}), *results[1:]]
    assert "different versions" in page(mixed, command="make faultbench")


def test_a_newer_line_of_a_case_takes_the_place_of_the_older(results: list[Result]) -> None:
    older = replace(results[3], key="older", finished="2020-01-01T00:00:00+00:00")
    older = replace(older, judged=replace(older.judged, verdicts={"isotonic": "vision"}))
    assert page([older, *results], command="c") == page(results, command="c")
    assert page([*results, older], command="c") == page(results, command="c")


def test_page_depends_on_the_stored_lines_alone(results: list[Result]) -> None:
    again = [Result.from_json(json.loads(json.dumps(r.to_json()))) for r in results]
    assert page(again, command="c") == page(results, command="c")


def test_page_of_nothing_says_so() -> None:
    assert "No case is finished" in page([], command="make faultbench")
    assert "91.7" not in page([healthy()], command="c")


def test_the_picture_holds_every_fault_at_its_drop_and_outcome(results: list[Result]) -> None:
    drawn = detection_svg(results)
    assert drawn is not None
    found = marks(drawn)
    outcomes = Counter(said.rpartition(", ")[2] for said in found)
    assert outcomes == {"right": 15, "undetermined": 2, "wrong": 2}
    for said, (_, x, y) in found.items():
        points = float(said.split(": ")[1].split(" ")[0])
        assert value_at(drawn, x, "x") == pytest.approx(points, abs=0.2)
        level = {"right": 100, "undetermined": 50, "wrong": 0}[said.rpartition(", ")[2]]
        assert value_at(drawn, y) == pytest.approx(level, abs=7.1)
    assert detection_svg([]) is None
