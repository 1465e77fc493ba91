"""Judge kept cases again with the code as it is now; no model is run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from tools.faultbench.judging import code_version, judge
from tools.faultbench.kept import is_kept
from tools.faultbench.results import ResultsFile


def rejudge(
    file: ResultsFile,
    kept: Path,
    *,
    jobs: int = 1,
    stale_only: bool = False,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Bring every line of the results file up to the present code; return the names whose verdict changed.

    With `stale_only` the lines that this very code judged are left as they are. A case whose files are gone
    keeps its line, and the page then shows that it was judged by other code.
    """
    results = file.read()
    current = code_version()
    stale = (r for r in results.values() if not (stale_only and r.judged.code == current))
    chosen = [r for r in stale if is_kept(kept / r.key)]
    if not chosen:
        return []
    say(f"judging {len(chosen)} kept cases again")
    folders = [kept / r.key for r in chosen]
    if jobs == 1:
        judged = list(map(judge, folders))
    else:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            judged = list(pool.map(judge, folders))
    updated = {r.key: replace(r, judged=new) for r, new in zip(chosen, judged, strict=True)}
    file.replace({**results, **updated}.values())
    return [r.case.name for r in chosen if updated[r.key].judged.verdict != r.judged.verdict]
