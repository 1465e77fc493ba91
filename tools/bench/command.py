"""The whole command as a user types it, timed from outside and by its own record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from table import Section

_STEPS = {
    "load": "loading the model",
    "observe": "answers and features",
    "answer": "option orders, paraphrases, free answers",
    "probe": "probes and permutations",
}


def whole_command(*, task: str, limits: tuple[str, ...] = ()) -> Section:
    """Run `harness eval` on the built-in model in a fresh folder with an empty cache."""
    arguments = ["eval", "--tasks", task, "--models", "zoo/llava-healthy", *limits]
    with tempfile.TemporaryDirectory() as folder:
        wall = _run([*arguments, "--device", "cpu", "--output", "results"], Path(folder))
        record = _only_record(Path(folder) / "results")
    seconds = record["cost"]["seconds"]
    named = {step: float(seconds.get(step, 0.0)) for step in _STEPS}
    inside = float(seconds["total"])
    times = {
        "start-up and imports, plan, final table": wall - inside,
        "drawing the images, statistics, filing": inside - sum(named.values()),
        **{_STEPS[step]: value for step, value in named.items()},
        "whole command": wall,
    }
    counts, memory = record["task"], record["cost"]["peak_memory_bytes"]
    return Section(
        title="The whole command",
        about=(
            f"`harness {' '.join(arguments)}` in a new process with an empty cache, once: "
            f"{counts['n_train']} training, {counts['n_val']} validation and {counts['n_test']} test images. "
            "Wall time by step, from the record's `cost`."
        ),
        header=("step", "seconds", "share"),
        rows=tuple((step, f"{value:.1f}", f"{100 * value / wall:.0f}%") for step, value in times.items()),
        reading=(f"Peak memory: {memory / 2**20:.0f} MiB.",) if memory else (),
    )


def _run(arguments: list[str], folder: Path) -> float:
    """Run the command line in a folder; return its wall time in seconds."""
    environment = {**os.environ, "HARNESS_CACHE_DIR": str(folder / "cache"), "NO_COLOR": "1"}
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.monotonic() - begun
    if done.returncode != 0:
        raise RuntimeError(
            f"harness {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}"
        )
    return wall


def _only_record(output: Path) -> dict[str, Any]:
    (path,) = output.glob("*/*/record.json")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record
