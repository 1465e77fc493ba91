"""A case from model folder to judged result, on the built-in model and few images."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from leaderboard.record.record import read_record
from leaderboard.record.samples import ProbeLine, SampleLine, read_lines
from leaderboard.scoring.score import Declared, Lines, score
from model_adapters.catalog.built_in_weights import build_one
from model_adapters.engines.classifier import reference
from tasks import catalog
from tools.faultbench import judging
from tools.faultbench.cases import Case, Draw, baseline, keys_of, recipe_id
from tools.faultbench.evaluate import Bench
from tools.faultbench.judging import rejudge
from tools.faultbench.results import Result, ResultsFile, unpacked

DRAW = Draw(7, train=120, val=60, test=80)
HEALTHY = Case("healthy", "healthy", "none", "llava", 0, DRAW, ("healthy",))
ANSWERS = Case(
    "trap", "pass_through", "none", "llava", 0, dataclasses.replace(DRAW, labels="answers"), ("healthy",)
)


@dataclass(frozen=True)
class Done:
    """A bench that finished two cases."""

    bench: Bench
    healthy: Result
    answers: Result


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    work = tmp_path_factory.mktemp("work")
    folder = work / "models" / recipe_id("llava", 0)
    build_one("zoo/llava-healthy", folder)
    (folder / "llava-healthy").rename(folder / "llava-seed0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE_DIR", str(work / "cache"))
        # R is not what this is about, and its own recipe takes a minute.
        patch.setattr(
            reference, "RECIPE", dataclasses.replace(reference.RECIPE, steps=20, members=1, width=8)
        )
        torch.set_num_threads(1)
        keys = keys_of([HEALTHY, ANSWERS])
        bench = Bench(work, keys)
        return Done(bench, *(bench(case, keys[case.name]) for case in (HEALTHY, ANSWERS)))


def test_verdict_is_the_one_that_the_command_filed(done: Done) -> None:
    for result in (done.healthy, done.answers):
        assert result.recorded == result.judged.verdict
        assert set(result.judged.verdicts) >= {"largest", "earliest", "isotonic"}
        assert result.seconds["total"] > 0
        with unpacked(done.bench.kept(result.key)) as folder:
            record = read_record(folder / "record.json")
            lines = Lines(
                list(read_lines(folder / "samples.jsonl", SampleLine)),
                list(read_lines(folder / "probes.jsonl", ProbeLine)),
            )
        task = catalog.load(done.bench.work / "tasks" / f"{record.task.name}.yaml")
        again = score(lines, Declared.of(record, task)).diagnosis
        assert again is not None
        assert again.verdict == result.judged.verdict
        assert again.details == result.judged.details
        assert result.judged.levels == pytest.approx(again.levels, abs=1e-6)
        assert record.answers is not None
        assert result.accuracy == pytest.approx(100 * record.answers.accuracy.value)
        assert (record.task.n_train, record.task.n_val, record.task.n_test) == (120, 60, 80)


def test_nothing_but_what_judging_needs_is_left(done: Done) -> None:
    work = done.bench.work
    assert not list((work / "scratch").iterdir())
    for result in (done.healthy, done.answers):
        names = {path.name for path in done.bench.kept(result.key).iterdir()}
        assert names == {"record.json", "samples.jsonl.gz", "probes.jsonl.gz"}
    for case in (HEALTHY, ANSWERS):
        assert (work / "logs" / f"{case.name.replace('/', '.')}.log").stat().st_size > 0


def test_labels_that_are_the_models_answers_make_it_always_right(done: Done) -> None:
    assert baseline(ANSWERS) == HEALTHY
    assert done.answers.accuracy == 100.0
    assert done.answers.judged.levels["answers"] == 1.0
    assert done.healthy.accuracy < 100.0


def test_a_kept_case_is_judged_without_its_model(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_model(*given: object) -> None:
        raise AssertionError("the model is run again")

    monkeypatch.setattr(Bench, "_run", no_model)
    again = done.bench(HEALTHY, done.healthy.key)
    assert dataclasses.replace(again.judged, seconds=0) == dataclasses.replace(done.healthy.judged, seconds=0)


def test_rejudging_gives_what_judging_gave(done: Done, tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "results.jsonl")
    wrong = dataclasses.replace(
        done.healthy.judged, code="old", verdicts=dict.fromkeys(done.healthy.judged.verdicts, "no_signal")
    )
    gone = dataclasses.replace(done.answers, key="gone")
    for result in (dataclasses.replace(done.healthy, judged=wrong), done.answers, gone):
        file.append(result)
    kept = done.bench.work / "kept"
    assert rejudge(file, kept, stale_only=True, say=lambda message: None) == [HEALTHY.name]
    assert [_timeless(r) for r in file.read().values()] == [
        _timeless(r) for r in (done.healthy, done.answers, gone)
    ]
    before = file.path.read_bytes()
    assert rejudge(file, kept, stale_only=True, say=lambda message: None) == []
    assert file.path.read_bytes() == before
    assert rejudge(file, kept, say=lambda message: None) == []


def test_another_code_version_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = judging.code_version()
    judging.code_version.cache_clear()
    monkeypatch.setattr(judging, "_CODE", judging._CODE[:-1])
    try:
        assert judging.code_version() != before
    finally:
        judging.code_version.cache_clear()


def test_result_survives_the_file(done: Done) -> None:
    stored = json.loads(json.dumps(done.healthy.to_json()))
    assert Result.from_json(stored) == done.healthy
    assert all(np.isfinite(list(done.healthy.judged.levels.values())))


def _timeless(result: Result) -> Result:
    return dataclasses.replace(result, judged=dataclasses.replace(result.judged, seconds=0.0))
