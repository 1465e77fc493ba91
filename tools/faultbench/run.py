"""Plant faults in built-in models, let `harness eval` find them, and write what it found as a page.

`python tools/faultbench/run.py` trains the healthy models first and takes hours; killed or stopped by
`--budget` it goes on where it was when it is started again. Beside running there are three actions: `table`
writes the page from the results that are there, `rejudge` judges every kept case again with the code as it
is now (minutes, no model is run), `list` names the cases.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_ROOT = Path(__file__).resolve().parents[2]
_COMMAND = "make faultbench"
sys.path.insert(0, str(_ROOT))  # the bench's files import each other as tools.faultbench


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; return the exit status."""
    chosen = _arguments(arguments)
    # Before the libraries are loaded: they read these once, and so do the worker processes.
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"), TOKENIZERS_PARALLELISM="false")
    os.environ["HARNESS_CACHE_DIR"] = str(chosen.work.resolve() / "cache")
    actions = {"run": _run, "rejudge": _rejudge, "table": _table, "list": _list}
    try:
        return actions[chosen.action](chosen)
    except BrokenProcessPool:
        print("a worker process was ended from outside; the same command goes on from here", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _run(chosen: argparse.Namespace) -> int:
    from tools.faultbench.cases import all_cases, keys_of
    from tools.faultbench.evaluate import Bench
    from tools.faultbench.results import ResultsFile
    from tools.faultbench.schedule import run_cases, with_needs
    from tools.faultbench.subjects import fault_kinds

    cases = all_cases(fault_kinds())
    keys = keys_of(cases)
    wanted = with_needs(c for c in cases if fnmatch.fnmatch(c.name, chosen.only))
    file = ResultsFile(_results(chosen))
    tally = run_cases(
        wanted,
        keys,
        file.read(),
        Bench(chosen.work.resolve(), keys),
        file.append,
        jobs=chosen.jobs,
        budget_seconds=None if chosen.budget is None else 60 * chosen.budget,
        say=_say,
    )
    _say(f"{tally.finished} cases finished, {len(tally.failed)} failed, {tally.left} still to run")
    _rejudge(chosen, stale_only=True)
    return 1 if tally.failed else 0


def _rejudge(chosen: argparse.Namespace, *, stale_only: bool = False) -> int:
    from tools.faultbench.judging import rejudge
    from tools.faultbench.results import ResultsFile

    changed = rejudge(
        ResultsFile(_results(chosen)), chosen.work / "kept", jobs=chosen.jobs, stale_only=stale_only, say=_say
    )
    if changed:
        _say(f"{len(changed)} verdicts changed: {', '.join(changed)}")
    return _table(chosen)


def _table(chosen: argparse.Namespace) -> int:
    from tools.faultbench.cases import all_cases
    from tools.faultbench.figure import detection_svg
    from tools.faultbench.results import ResultsFile
    from tools.faultbench.subjects import fault_kinds
    from tools.faultbench.table import page

    results = list(ResultsFile(_results(chosen)).read().values())
    planned = len(all_cases(fault_kinds()))
    if chosen.output is None:
        print(page(results, command=_COMMAND, planned=planned))
        return 0
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    picture, svg = chosen.output.with_suffix(".svg"), detection_svg(results)
    if svg is not None:
        picture.write_text(svg, encoding="utf-8")
    text = page(results, command=_COMMAND, planned=planned, figure=picture.name if svg else None)
    chosen.output.write_text(text, encoding="utf-8")
    _say(f"written to {chosen.output}")
    return 0


def _list(chosen: argparse.Namespace) -> int:
    from tools.faultbench.cases import all_cases
    from tools.faultbench.subjects import fault_kinds

    for case in all_cases(fault_kinds()):
        if fnmatch.fnmatch(case.name, chosen.only):
            print(f"{case.name}  {' or '.join(case.expected) or 'not scored'}")
    return 0


def _results(chosen: argparse.Namespace) -> Path:
    path: Path = chosen.work / "results.jsonl"
    return path


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _arguments(given: list[str] | None) -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", nargs="?", default="run", choices=("run", "rejudge", "table", "list"))
    parser.add_argument("--work", type=Path, default=Path(".faultbench"), help="models, results, kept files")
    parser.add_argument("--output", type=Path, help="page to write, for example docs/faultbench.md")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes of one thread each")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="cases to run, as `list` names them")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="begin no case after this time")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
