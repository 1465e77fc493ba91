"""A run that is killed, again and again, ends in the record of one that was not: so do two whole runs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.harness.conftest import RUN, comparable, harness, read_json, read_lines, result


def _stored(folder: Path) -> list[tuple[str, int]]:
    """Return the batches that count; an unfinished last line does not."""
    path = folder / "store" / "answers.jsonl"
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")[0]
    import json

    return [(entry["step"], entry["batch"]) for entry in map(json.loads, whole.splitlines())]


def test_killed_run_ends_in_the_same_record(finished: Path, tmp_path: Path) -> None:
    chance = random.Random(20260408)
    output = tmp_path / "out"
    kills = 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", "eval", *RUN, "--output", str(output)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = _stored(result(output))
        target = len(before) + chance.randint(1, 4)  # kill once this many batches count
        while process.poll() is None and len(_stored(result(output))) < target:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.1)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        after = _stored(result(output))
        assert after[: len(before)] == before  # what counted still counts
        assert len(set(after)) == len(after)  # and nothing was asked twice
    assert kills == 2
    done = harness("eval", *RUN, "--output", str(output), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = (read_json(result(folder) / "record.json") for folder in (finished, output))
    assert comparable(one) == comparable(two)
    assert read_lines(result(finished) / "samples.jsonl") == read_lines(result(output) / "samples.jsonl")
    assert (result(finished) / "probes.jsonl").read_bytes() == (result(output) / "probes.jsonl").read_bytes()
