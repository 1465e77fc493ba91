"""File a run: samples, probes and the record, written last and whole."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import __version__
from harness.data.dataset import Dataset
from harness.passes.context import Run
from harness.passes.evaluated_model import EvaluatedModel
from harness.passes.store import PREFILL, RunStore
from harness.passes.timing import Timing
from harness.plan.configuration import package_version
from harness.plan.options import EvalOptions
from harness.plan.tuning_halves import tuning_part
from harness.watch.causal import CausalCheck, causal_settings
from harness.watch.watch import LayerFindings
from leaderboard.record.parts import CostPart, ProvenancePart, TaskPart
from leaderboard.record.record import Record, dump_record, read_record
from leaderboard.record.samples import dump_lines
from leaderboard.scoring.diagnosis import diagnosis_settings
from leaderboard.scoring.letters import IMAGES
from leaderboard.scoring.score import SCORING_VERSION, Lines, Scores
from model_adapters.interface import ModelDescription
from tasks.files import write_atomically

_PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "numpy", "scipy", "scikit-learn", "pillow")


def scoring_settings(options: EvalOptions, key: str | None) -> dict[str, Any]:
    """What changes how answers are scored but not the answers; `key` is that of the task's floors."""
    asked = {"causal": causal_settings()} if options.probe and options.causal else {}
    return {
        "readouts": list(options.readouts),
        "scoring_version": SCORING_VERSION,
        "floors": {"which": options.floors, "key": key} if options.probe else None,
        "answer_target": dict(IMAGES) if options.probe and options.answer_target else None,
        "diagnosis": diagnosis_settings() if options.probe else None,
        **asked,  # absent where it was not asked for, so that records of before it count as they did
    }


def finished_record(store: RunStore, settings: Mapping[str, Any]) -> Record | None:
    """Return the folder's record if it is of this very configuration and scoring."""
    path = store.folder / "record.json"
    if not path.exists():
        return None
    record = read_record(path)
    return record if record.configuration == _configuration(store, settings) else None


def _configuration(store: RunStore, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {**store.configuration, "loaded": store.engine, "judgement": dict(settings)}


def file_record(
    run: Run,
    model: EvaluatedModel,
    lines: Lines,
    layers: LayerFindings | None,
    scores: Scores,
    settings: Mapping[str, Any],
) -> Record:
    """Write `samples.jsonl`, `probes.jsonl` and `record.json`, and return the record."""
    store, dataset, options = run.store, run.dataset, run.options
    causal = layers.causal if layers else None
    if options.causal and layers is None:
        causal = CausalCheck(
            None, "no layer was watched: the engine shows none, or probes were not asked for"
        )
    status, error = _status(scores.answers.outcomes.error, len(run.images.test), options)
    record = Record(
        status=status,
        error=error,
        model=model.part,
        task=_task_part(dataset),
        condition=model.condition,
        tuning=tuning_part(model.tuned, dataset),
        permutation=layers.probes.permutation if layers else None,
        projection=layers.projection if layers else None,
        **vars(scores),
        causal=causal.part if causal else None,
        causal_detail=causal.detail if causal else None,
        configuration=_configuration(store, settings),
        cost=_cost(model, store.appended(PREFILL), run.timing),
        provenance=_provenance(options, run.timing),
    )
    write_atomically(store.folder / "samples.jsonl", dump_lines(lines.samples))
    write_atomically(store.folder / "probes.jsonl", dump_lines(lines.probes))
    write_atomically(store.folder / "record.json", dump_record(record))
    return record


def _status(errors: int, images: int, options: EvalOptions) -> tuple[Any, str | None]:
    if errors == images:
        return "failed", "no test image could be answered; the log and samples.jsonl say why"
    if options.limit is not None:
        return "partial", f"asked about {images} test images (--limit)"
    return "complete", None


def _task_part(dataset: Dataset) -> TaskPart:
    return TaskPart(
        name=dataset.task.id,
        version=dataset.task.version,
        classes=tuple(c.name for c in dataset.task.classes),
        dataset_fingerprint=dataset.fingerprint,
        official_data=dataset.official,
        n_train=len(dataset.split("train")),
        n_val=len(dataset.split("val")),
        n_test=len(dataset.split("test")),
        grouped_by=dataset.report.grouped_by,
        dropped_train=dataset.report.dropped_train,
        dropped_val=dataset.report.dropped_val,
        val_cut_from_train=dataset.report.val_cut_from_train,
    )


def _cost(model: EvaluatedModel, asked: int, timing: Timing) -> CostPart:
    """Return what this sitting took; `asked` is the number of images that it asked the primary prompt about."""
    import resource

    spent = timing.seconds.get("observe", 0.0) or timing.seconds.get("answer", 0.0)
    steps = dict.fromkeys(("load", "answer", "observe", "probe"), 0.0) | timing.seconds
    seconds = {step: round(value, 3) for step, value in steps.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    return CostPart(
        seconds={**seconds, "total": round(timing.total(), 3)},
        images_per_second=round(asked / spent, 2) if asked and spent > 0 else None,
        peak_memory_bytes=peak,
        device=model.description.device,
        device_memory_bytes=_device_memory(model.description),
        usage=model.usage,
    )


def _device_memory(description: ModelDescription) -> int | None:
    """Return the most that this process had in use on its GPUs since it began.

    None without one, and with vLLM, whose model is in processes of its own.
    """
    if not description.device.startswith("cuda") or description.engine == "vllm":
        return None
    import torch

    return sum(torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count()))


def _provenance(options: EvalOptions, timing: Timing) -> ProvenancePart:
    return ProvenancePart(
        harness_version=__version__,
        git=_git_commit(),
        python=platform.python_version(),
        packages={name: found for name in _PACKAGES if (found := package_version(name)) is not None},
        command=options.command,
        seed=options.seed,
        started=timing.started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _git_commit() -> str | None:
    """Return the commit of the checkout that this code runs from, or None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git here: the record says null
    return found.stdout.strip()
