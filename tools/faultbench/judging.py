"""Judge cases from their kept files, under every rule, without the model and without torch."""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

from leaderboard.record.record import read_record
from leaderboard.record.samples import ProbeLine, SampleLine, read_lines
from leaderboard.scoring import answers, probes
from leaderboard.scoring import diagnosis as scoring
from probes.fit import logistic_map
from probes.stats import bootstrap, metrics
from probes.verdict import bottleneck, diagnosis, mapping, waterfall
from probes.verdict.bottleneck import RULES
from probes.verdict.diagnosis import DEFAULT_RULE, Diagnosis, diagnose
from tools.faultbench.results import Judged, ResultsFile, is_kept, unpacked
from tools.faultbench.schedule import CaseError

_CODE: tuple[ModuleType, ...] = (
    answers,
    bootstrap,
    bottleneck,
    diagnosis,
    logistic_map,
    mapping,
    metrics,
    probes,
    scoring,
    waterfall,
)


def judge(kept: Path) -> Judged:
    """Return what the kept files of a run say under every rule.

    Raises:
        CaseError: the run did not measure what a verdict needs.
    """
    begun = time.monotonic()
    with unpacked(kept) as folder:
        found, measured = _diagnoses(folder)
    default = found[DEFAULT_RULE.name]
    return Judged(
        code=code_version(),
        default=DEFAULT_RULE.name,
        verdicts={name: made.verdict for name, made in found.items()},
        reason=default.reason,
        stages=default.stages,
        details=default.details,
        levels={str(name): round(value, 6) for name, value in measured.level.items()},
        drops={drop.mode: round(drop.gap.points, 4) for drop in default.drops},
        smallest_visible_gap=round(default.smallest_visible_gap, 6),
        seconds=round(time.monotonic() - begun, 3),
    )


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


@cache
def code_version() -> str:
    """Return a hash of the modules that a verdict follows from."""
    digest = hashlib.sha256()
    for module in _CODE:
        assert module.__file__ is not None
        digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()[:8]


def _diagnoses(folder: Path) -> tuple[dict[str, Diagnosis], waterfall.Waterfall]:
    """Do what `leaderboard.scoring.diagnosis.score_diagnosis` does, with every rule on one set of draws."""
    record = read_record(folder / "record.json")
    samples = list(read_lines(folder / "samples.jsonl", SampleLine))
    lines = list(read_lines(folder / "probes.jsonl", ProbeLine))
    evidence = scoring.gather(samples, lines, len(record.task.classes))
    if evidence is None or record.floors is None:
        raise CaseError("its files do not hold what a verdict needs: label scores, probes and floors")
    measured = waterfall.waterfall(evidence.predictions, seed=record.provenance.seed)
    signal = scoring.signal_tests(record.probes, record.permutation, record.floors)
    rules = {rule.name: rule for rule in (*RULES, DEFAULT_RULE)}
    found = {
        name: diagnose(
            measured,
            reference=record.floors.reference.detail,
            signal=signal,
            permutation_p=evidence.permutation_p,
            rule=rule,
        )
        for name, rule in rules.items()
    }
    return found, measured
