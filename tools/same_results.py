"""Show that this checkout files what another commit filed, byte for byte.

    python tools/same_results.py --commit d3d289e --data-dir DIR --work DIR

Each case runs once under the other commit, in a git worktree of its own, and is kept in the work folder; then it
runs under this checkout. `samples.jsonl` and `probes.jsonl` are compared as bytes, `record.json` without its keys
`cost` and `provenance`, the tables of a study as bytes. Both sides have caches of their own: nothing trained
by one is read by the other. Exit status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BUILT_IN = ("zoo/llava-healthy", "zoo/qwen2.5-vl-healthy", "zoo/gemma3-healthy")

STUDY = """\
name: same
title: Two built-in models
description: Two built-in models on generated images, compared with each other.
tasks: [phantom-200]
models: [zoo/llava-healthy, zoo/qwen2.5-vl-healthy]
references: [reference/regnet]
conditions: [released]
readouts: [linear]
pairs:
  - {model: zoo/qwen2.5-vl-healthy, base: zoo/llava-healthy}
evaluation: {floors: task, max_train: 300}
"""


@dataclass(frozen=True)
class Case:
    """One command, by its words after `harness`; its results go below a folder of the case's name."""

    name: str
    words: tuple[str, ...]


def cases(study: Path) -> list[Case]:
    """All that is compared: generated and real images, a causal check, a reference's own records, a study."""

    def evaluate(name: str, tasks: str, models: str, *more: str) -> Case:
        return Case(name, ("eval", "--tasks", tasks, "--models", models, "--device", "cpu", "--yes", *more))

    return [
        evaluate("phantom", "phantom", ",".join(BUILT_IN)),
        evaluate("causal", "phantom-200", BUILT_IN[0], "--causal"),
        evaluate(
            "paper-readout", "phantom-200", BUILT_IN[1], "--readout", "linear,paper", "--max-train", "200"
        ),
        evaluate("real", "busi,chest_xray", f"{BUILT_IN[0]},reference/regnet", "--max-train", "600"),
        Case("study", ("study", str(study))),
    ]


def run(case: Case, tree: Path, results: Path, data: Path) -> None:
    """Run one case with the code of `tree`, unless its results stand there already.

    Raises
    ------
    SystemExit
        The command failed; its output is in `log-<case>.txt`.
    """
    finished = results / f"{case.name}.done"
    if finished.exists():
        return
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "HARNESS_CACHE_DIR": str(results / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "harness", *case.words, "--data-dir", str(data)]
    command += ["--output", str(results / case.name)]
    with (results / f"log-{case.name}.txt").open("w") as log:
        status = subprocess.run(command, cwd=tree, env=environment, stdout=log, stderr=log).returncode
    if status:
        raise SystemExit(f"{case.name} failed with {status} in {tree}: see {log.name}")
    finished.touch()


def compared_files(results: Path, case: Case) -> dict[str, bytes]:
    """What is compared of a case, by its path below the case's folder."""
    folder = results / case.name
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "record.json":
            record = json.loads(path.read_text())
            kept = {key: value for key, value in record.items() if key not in ("cost", "provenance")}
            found[name] = json.dumps(kept, indent=1).encode()
        elif path.name in ("samples.jsonl", "probes.jsonl") or path.parent.name == "tables":
            found[name] = path.read_bytes()
    return found


def differences(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """One line for each file that is missing on one side or differs, with the first line that does."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            found.append(f"{name}: only {'after' if name in after else 'before'}")
        elif before[name] != after[name]:
            pairs = zip(before[name].splitlines(), after[name].splitlines(), strict=False)
            line = next((number for number, (left, right) in enumerate(pairs, 1) if left != right), 0)
            found.append(f"{name}: differs from line {line} on")
    return found


def main() -> int:
    """Run every case on both sides and print one line a case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commit", required=True, help="the commit whose results count as right")
    parser.add_argument("--data-dir", type=Path, required=True, help="the folder of the real images")
    parser.add_argument(
        "--work", type=Path, required=True, help="where worktree, caches and results are kept"
    )
    parser.add_argument("--only", help="cases by name, separated by commas")
    parser.add_argument("--before-only", action="store_true", help="run the other commit's side alone")
    chosen = parser.parse_args()
    work = chosen.work.resolve()
    here = Path(__file__).resolve().parents[1]
    tree = work / f"tree-{chosen.commit}"
    if not tree.exists():
        subprocess.run(["git", "worktree", "add", "--detach", tree, chosen.commit], cwd=here, check=True)
    study = work / "study.yaml"
    study.write_text(STUDY)
    before, after = work / f"results-{chosen.commit}", work / "results-now"
    for folder in (before, after):
        folder.mkdir(parents=True, exist_ok=True)
    only = set(chosen.only.split(",")) if chosen.only else None
    different = 0
    for case in [case for case in cases(study) if only is None or case.name in only]:
        run(case, tree, before, chosen.data_dir.resolve())
        if chosen.before_only:
            continue
        run(case, here, after, chosen.data_dir.resolve())
        old = compared_files(before, case)
        lines = differences(old, compared_files(after, case))
        different += len(lines)
        print(f"{case.name}: {len(old)} files, {len(lines)} different", flush=True)
        for line in lines:
            print(f"  {line}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
