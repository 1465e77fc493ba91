"""Working through the cases: nothing twice, nothing lost, whatever ends the bench."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from tools.faultbench.cases import Case, Draw, all_cases, baseline, key_of
from tools.faultbench.handmade import fault, healthy, trap
from tools.faultbench.results import Result, ResultsFile, latest
from tools.faultbench.schedule import CaseError, Tally, run_cases, with_needs

ROOT = Path(__file__).parents[3]
CASES = all_cases(())[:12]


class Slow:
    """Evaluates a case by waiting, and notes that it began and in which process."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds

    def __call__(self, case: Case, key: str) -> Result:
        with (self.folder / "begun").open("a") as stream:
            stream.write(f"{case.name}\n")
        with (self.folder / "workers").open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        time.sleep(self.seconds)
        return replace(healthy(), case=case, key=key)


def run_slowly(folder: Path, jobs: int, seconds: float) -> Tally:
    """Go through some cases, storing each; what a killed process below does."""
    file = ResultsFile(folder / "results.jsonl")
    keys = {case.name: key_of(case, {}) for case in CASES}
    return run_cases(CASES, keys, file.read(), Slow(folder, seconds), file.append, jobs=jobs, say=_quiet)


def _alive(workers: Path) -> list[int]:
    """Return the noted processes that are still there; one that only waits to be buried is not."""
    found = []
    for pid in set(map(int, workers.read_text().split())):
        status = Path(f"/proc/{pid}/status")
        if status.exists() and "State:\tZ" not in status.read_text():
            found.append(pid)
    return found


def _quiet(message: str) -> None:
    pass


def test_killed_bench_goes_on_where_it_was(tmp_path: Path) -> None:
    chance = random.Random(7)
    code = (
        "from pathlib import Path; from tests.tools.faultbench.test_schedule import run_slowly\n"
        f"if __name__ == '__main__': run_slowly(Path({str(tmp_path)!r}), 2, 0.15)"
    )
    script = tmp_path / "bench.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\n")
    file, kills = ResultsFile(tmp_path / "results.jsonl"), 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "OMP_NUM_THREADS": "1"})
        target = len(file.read()) + chance.randint(1, 3)
        while process.poll() is None and len(file.read()) < target:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.1)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    stored = (tmp_path / "results.jsonl").read_bytes()
    assert kills == 3
    until = time.monotonic() + 5
    while (left := _alive(tmp_path / "workers")) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left  # no worker outlives its parent
    # The last line as a kill in the middle of writing leaves it.
    (tmp_path / "results.jsonl").write_bytes(stored + b'{"key": "unfin')
    tally = run_slowly(tmp_path, 1, 0.0)
    lines = (tmp_path / "results.jsonl").read_bytes().splitlines()
    assert len(lines) == len(CASES) == len(file.read())
    assert tally == Tally(finished=len(CASES) - len(stored.splitlines()), failed=(), left=0)
    assert (tmp_path / "results.jsonl").read_bytes().startswith(stored)
    ran = (tmp_path / "begun").read_text().splitlines()
    assert set(ran) == {case.name for case in CASES}
    assert len(ran) <= len(CASES) + 2 * kills  # only what was under way was begun again
    assert run_slowly(tmp_path, 1, 0.0) == Tally(0, (), 0)


def test_spent_budget_begins_nothing_and_finishes_what_was_begun(tmp_path: Path) -> None:
    found: list[Result] = []
    keys = {case.name: key_of(case, {}) for case in CASES}
    tally = run_cases(CASES, keys, {}, Slow(tmp_path, 0.05), found.append, budget_seconds=0.12, say=_quiet)
    assert 2 <= tally.finished <= 4
    assert tally.left == len(CASES) - tally.finished
    assert [r.case for r in found] == list(CASES[: tally.finished])


def test_case_that_fails_is_told_of_and_stops_only_what_needs_it(tmp_path: Path) -> None:
    answers = replace(trap("pass_through").case, draw=Draw(60, labels="answers"))
    needed, other = baseline(answers), healthy(draw=5).case
    chosen = with_needs([answers, other])
    assert chosen == (needed, answers, other)
    assert with_needs([needed, answers]) == (needed, answers)

    def evaluate(case: Case, key: str) -> Result:
        if case == needed:
            raise CaseError("no weights")
        return replace(healthy(), case=case, key=key)

    said: list[str] = []
    keys = {case.name: key_of(case, {}) for case in chosen}
    tally = run_cases(chosen, keys, {}, evaluate, lambda result: None, say=said.append)
    assert tally == Tally(finished=1, failed=((needed.name, "no weights"),), left=1)
    assert said[0] == f"{needed.name}: failed: no weights"


def test_what_is_needed_comes_first_even_if_it_was_ordered_last() -> None:
    answers = replace(trap("pass_through").case, draw=Draw(60, labels="answers"))
    order: list[Case] = []

    def evaluate(case: Case, key: str) -> Result:
        order.append(case)
        return replace(healthy(), case=case, key=key)

    chosen = (answers, baseline(answers))
    keys = {case.name: key_of(case, {}) for case in chosen}
    run_cases(chosen, keys, {}, evaluate, lambda result: None, say=_quiet)
    assert order == [baseline(answers), answers]


def test_results_file_gives_back_what_was_stored(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "deep" / "results.jsonl")
    assert file.read() == {}
    first = healthy(accuracy=81.25, seconds={"load": 1.5}, details=("readability",), finished="2026-01-01")
    second = replace(fault(finished="2026-01-02"), versions={"phantom": 2})
    for result in (first, second):
        file.append(result)
    assert file.read() == {first.key: first, second.key: second}
    newer = replace(first, key="another", accuracy=80.0, finished="2026-01-03")
    file.append(newer)
    assert latest(file.read().values()) == [newer, second]
    file.replace([second])
    assert file.read() == {second.key: second}
