"""Write results in lm-eval's JSON: its keys as it writes them, and what it has no name for under `harness`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.lm_eval.names import GENERATE
from leaderboard.record.record import Record, RecordError, read_record
from leaderboard.record.samples import SampleLine, read_lines
from leaderboard.scoring.reading import best
from tasks.files import write_atomically

HARNESS = "harness"
_OWN = {"model", "task", "condition", "status", "error", "answers", "health", "diagnosis"}


@dataclass(frozen=True)
class FiledResult:
    """A result folder's record and the lines of its test images."""

    folder: Path
    record: Record
    test: tuple[SampleLine, ...]


def write_results(folders: Sequence[Path], output: Path) -> Path:
    """Write the results of one model on one or more tasks as one JSON file; return its path.

    Raises:
        RecordError: a folder holds no result, or the results are of several models or twice of one task.
    """
    results = [_read(folder) for folder in folders]
    content = lm_eval_results(results)
    write_atomically(output, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return output


def lm_eval_results(results: Sequence[FiledResult]) -> dict[str, Any]:
    """Return results of one model as lm-eval's `results_….json` has them.

    A task is there under its own name, answered by label scores, and with `_generate` behind it, answered freely:
    the names of the tasks that `harness tasks export` writes. `acc,none` is the share of all test images; an
    answer that cannot be read, and an error, count as wrong. What was not measured is absent.

    Raises:
        RecordError: the results are of several models or twice of one task, or hold no answer.
    """
    _refuse_mixture(results)
    rows = {name: row for result in results for name, row in _rows(result).items()}
    if not rows:
        raise RecordError(f"{results[0].folder}: no test image was answered; there is nothing to export")
    first = results[0].record
    seconds = sum(result.record.cost.seconds["total"] for result in results)
    return {
        "results": {name: row.metrics(name) for name, row in rows.items()},
        "group_subtasks": {},
        "configs": {name: row.config(name) for name, row in rows.items()},
        "versions": {name: row.record.task.version for name, row in rows.items()},
        "n-shot": dict.fromkeys(rows, 0),
        "higher_is_better": {name: row.higher_is_better for name, row in rows.items()},
        "n-samples": {
            name: {"original": row.record.task.n_test, "effective": len(row.correct)}
            for name, row in rows.items()
        },
        "config": _config(first, results),
        "git_hash": first.provenance.git,
        "date": min(datetime.fromisoformat(r.record.provenance.started).timestamp() for r in results),
        "transformers_version": first.provenance.packages.get("transformers"),
        "lm_eval_version": None,  # it was not lm-eval that asked
        "system_instruction": _asked(first).get("prompt", {}).get("system"),
        "fewshot_as_multiturn": False,
        "chat_template_sha": None,  # the hash of the whole model, its template included, is model_revision
        "model_source": HARNESS,
        "model_name": first.model.name,
        "model_name_sanitized": first.model.name.replace("/", "__"),
        "task_hashes": {name: row.record.task.dataset_fingerprint for name, row in rows.items()},
        "total_evaluation_time_seconds": str(round(seconds, 3)),
        HARNESS: {
            "version": first.provenance.harness_version,
            "schema_version": first.schema_version,
            "tasks": {
                result.record.task.name: result.record.model_dump(mode="json", include=_OWN)
                for result in results
            },
        },
    }


@dataclass(frozen=True)
class _AnsweredTask:
    """One of lm-eval's tasks: which test images were answered rightly, and in free text which not at all."""

    record: Record
    correct: tuple[bool, ...]
    unread: tuple[bool, ...] | None

    def metrics(self, name: str) -> dict[str, Any]:
        found = {"name": name, "alias": name, "sample_len": len(self.correct), **_mean("acc", self.correct)}
        return found if self.unread is None else {**found, **_mean("no_answer", self.unread)}

    @property
    def higher_is_better(self) -> dict[str, bool]:
        return {"acc": True} if self.unread is None else {"acc": True, "no_answer": False}

    def config(self, name: str) -> dict[str, Any]:
        task = self.record.task
        return {
            "task": name,
            "output_type": "multiple_choice" if self.unread is None else "generate_until",
            "test_split": "test",
            "num_fewshot": 0,
            "metadata": {
                "version": task.version,
                "classes": list(task.classes),
                "dataset_fingerprint": task.dataset_fingerprint,
                "official_data": task.official_data,
            },
        }


def _read(folder: Path) -> FiledResult:
    record = read_record(folder / "record.json")
    lines = read_lines(folder / "samples.jsonl", SampleLine)
    return FiledResult(folder, record, tuple(line for line in lines if line.split == "test"))


def _rows(result: FiledResult) -> dict[str, _AnsweredTask]:
    name, test, rows = result.record.task.name, result.test, {}
    if any(line.scores is not None for line in test):
        correct = tuple(best(line.scores) == line.label for line in test)
        rows[name] = _AnsweredTask(result.record, correct, None)
    if any(line.generated_outcome is not None for line in test):
        correct = tuple(line.generated_outcome == "correct" for line in test)
        unread = tuple(line.generated_outcome == "no_answer" for line in test)
        rows[f"{name}{GENERATE}"] = _AnsweredTask(result.record, correct, unread)
    return rows


def _mean(metric: str, values: Sequence[bool]) -> dict[str, Any]:
    """Return a share and its standard error, from the sample's standard deviation as lm-eval has it."""
    n = len(values)
    share = sum(values) / n
    error = math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else "N/A"
    return {f"{metric},none": share, f"{metric}_stderr,none": error}


def _refuse_mixture(results: Sequence[FiledResult]) -> None:
    first = results[0]
    seen: dict[str, FiledResult] = {}
    for result in results:
        one, other = result.record, first.record
        if (one.model.name, one.model.revision, one.condition) != (
            other.model.name,
            other.model.revision,
            other.condition,
        ):
            raise RecordError(
                f"{first.folder} and {result.folder} are results of two models; lm-eval has a file for each"
            )
        known = seen.setdefault(one.task.name, result)
        if known is not result:
            raise RecordError(f"{known.folder} and {result.folder} are both about {one.task.name}; name one")


def _asked(record: Record) -> dict[str, Any]:
    """Return the settings of the model that a record's configuration states."""
    stated = record.configuration.get("model", {})
    return stated if isinstance(stated, dict) else {}


def _config(record: Record, results: Sequence[FiledResult]) -> dict[str, Any]:
    whole = all(result.record.status == "complete" for result in results)
    return {
        "model": HARNESS,
        "model_args": _asked(record).get("model_args", {}),
        "model_num_parameters": record.model.parameters,
        "model_dtype": record.model.dtype,
        "model_revision": record.model.revision,
        "model_sha": record.model.revision,
        "batch_size": None,  # the engine's choice, which changes no answer
        "device": record.cost.device,
        "limit": None if whole else max(len(result.test) for result in results),
        "bootstrap_iters": 0,
        "gen_kwargs": None,
        "random_seed": record.provenance.seed,
    }
