"""What `harness export` writes is what the real lm-eval writes about the same answers, and it reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

pytest.importorskip("lm_eval")

from lm_eval.result_schema import EvalResults
from lm_eval.utils import make_table

from harness.lm_eval.model import HarnessLM
from tests.lm_eval.conftest import TASK, evaluated, harness

TASKS = (TASK, f"{TASK}_generate")
# What only lm-eval itself can say: of its own settings, tokenizer and environment.
OURS_ALONE = {"harness"}


def test_results_are_those_of_lm_eval(
    models: Mapping[str, Path], exported: Path, filed: Callable[[str], Path], tmp_path: Path
) -> None:
    harness("export", str(filed("trained")), "--output", "results.json", folder=tmp_path)
    ours = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    theirs = evaluated(HarnessLM(str(models["trained"]), device="cpu", batch_size=16), exported, *TASKS)

    assert ours["results"].keys() == theirs["results"].keys()
    for task in TASKS:
        assert ours["results"][task] == pytest.approx(theirs["results"][task])
    for key in ("versions", "n-shot", "n-samples", "higher_is_better", "group_subtasks"):
        assert ours[key] == theirs[key], key
    for task in TASKS:
        written = ours["configs"][task]
        for key in set(written) - {"metadata"}:
            assert written[key] == theirs["configs"][task][key], key
    for key in ("model_num_parameters", "model_dtype", "model_revision", "model_sha"):
        assert ours["config"][key] == theirs["config"][key], key


def test_keys_are_in_the_schema_of_lm_eval_but_one(filed: Callable[[str], Path], tmp_path: Path) -> None:
    harness("export", str(filed("random")), "--output", "results.json", folder=tmp_path)
    ours = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert set(ours) - set(EvalResults.__annotations__) == OURS_ALONE
    assert f"|{TASK}_generate|" in make_table(ours).replace(" ", "")
    filed_under = ours["harness"]["tasks"][TASK]
    record = json.loads((filed("random") / "record.json").read_text(encoding="utf-8"))
    assert filed_under["answers"] == record["answers"]
    assert filed_under["health"] == record["health"]
