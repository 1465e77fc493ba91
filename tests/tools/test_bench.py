"""The benchmark ends with a page of finite, positive ratios, and times what it says it times."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.bench.timing import interleave

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tools" / "bench" / "run.py"
SPREAD = re.compile(r"(\d+(?:\.\d+)?) \((\d+(?:\.\d+)?)–(\d+(?:\.\d+)?)\)")
TITLES = ("Watching every site", "One prefill", "Linear probes", "The published probe", "The whole command")


def burn(seconds: float) -> float:
    """Keep the processor busy."""
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        math.sqrt(2.0)
    return seconds


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a quick run, made from a folder that is not the repository."""
    folder = tmp_path_factory.mktemp("bench")
    done = subprocess.run(
        [sys.executable, str(RUN), "--quick", "--output", "docs/benchmarks.md"],
        cwd=folder,
        env={**os.environ, "HARNESS_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = (folder / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert done.stdout.strip() == written.strip()
    return written


@pytest.mark.slow
def test_every_comparison_has_finite_positive_ratios(page: str) -> None:
    sections = page.split("\n## ")[1:]
    assert [title for title in TITLES if any(s.startswith(title) for s in sections)] == list(TITLES)
    for section in sections[:4]:
        rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")][2:]
        assert len(rows) >= 2
        assert sum(cells[1].strip() == "1" for cells in rows) == 1  # what the others are measured by
    spreads = [tuple(map(float, found)) for found in SPREAD.findall(page)]
    assert len(spreads) >= 15
    for median, low, high in spreads:
        assert math.isfinite(high)
        assert 0 <= low <= median <= high
    assert "nan" not in page
    assert "inf" not in re.findall(r"\w+", page)


@pytest.mark.slow
def test_the_page_names_no_folder(page: str) -> None:
    assert str(Path.home()) not in page
    assert str(ROOT) not in page
    assert "--quick" in page


@pytest.mark.slow
def test_five_forward_passes_cost_more_than_one_prefill(page: str) -> None:
    (row,) = (line for line in page.splitlines() if "forward passes, one a label" in line)
    ratio = SPREAD.search(row)
    assert ratio is not None
    assert float(ratio[1]) > 2


def test_ways_are_timed_apart_and_part_by_part() -> None:
    order: list[tuple[str, float]] = []

    def way(name: str, factor: float) -> Callable[[float], float]:
        def work(part: float) -> float:
            order.append((name, part))
            return burn(part * factor)

        return work

    laps = interleave({"one": way("one", 1), "three": way("three", 3)}, [0.01, 0.02], repetitions=2)
    assert laps.ratio("three", "one").median == pytest.approx(3, rel=0.15)
    assert laps.rate("one", 2).median == pytest.approx(2 / 0.03, rel=0.15)
    assert laps.returned == {"one": (0.01, 0.02), "three": (0.03, 0.06)}
    timed = order[2:]  # after the warm-up
    assert [part for _, part in timed] == [0.01, 0.01, 0.02, 0.02] * 2
    assert {name for name, _ in timed[::2]} == {"one", "three"}  # neither always goes first
    spread = laps.spread("three")
    assert 0 < spread.low <= spread.median <= spread.high
