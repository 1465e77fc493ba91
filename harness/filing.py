"""File a run: samples, probes and the record, written last and whole."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import __version__, ask
from harness.answers import Outcome, outcome, read_class, wordings_of
from harness.configuration import package_version
from harness.data.dataset import Dataset, Sample
from harness.judge import PERMUTATION_DRAWS, Judgement
from harness.options import EvalOptions
from harness.store import PREFILL, RunStore, write_atomically
from leaderboard import scoring
from leaderboard.health_profile import score_health
from leaderboard.record import (
    CostPart,
    ModelPart,
    PermutationPart,
    ProvenancePart,
    Record,
    TaskPart,
    dump_record,
    read_record,
)
from leaderboard.samples import Asked, SampleLine, dump_lines
from model_adapters.interface import ModelDescription

_PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "numpy", "scipy", "scikit-learn", "pillow")


@dataclass
class Timing:
    """Seconds of wall time by step; the one thing here that changes while a run goes on."""

    started: datetime
    seconds: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Add the time of this block to a step."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.monotonic() - begun

    def total(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._begun


def judgement_settings(options: EvalOptions) -> dict[str, Any]:
    """What changes how answers are judged but not the answers."""
    return {"readouts": list(options.readouts), "scoring_version": scoring.SCORING_VERSION}


def finished_record(store: RunStore, options: EvalOptions) -> Record | None:
    """Return the folder's record if it is of this very configuration and judgement."""
    path = store.folder / "record.json"
    if not path.exists():
        return None
    record = read_record(path)
    return record if record.configuration == _configuration(store, options) else None


def _configuration(store: RunStore, options: EvalOptions) -> dict[str, Any]:
    return {**store.configuration, "loaded": store.engine, "judgement": judgement_settings(options)}


def file_record(
    store: RunStore,
    description: ModelDescription,
    headline: scoring.Headline,
    dataset: Dataset,
    images: ask.AskedImages,
    judgement: Judgement | None,
    options: EvalOptions,
    timing: Timing,
) -> Record:
    """Write `samples.jsonl`, `probes.jsonl` and `record.json`, and return the record."""
    samples = sample_lines(store, dataset, images, headline)
    test = [line for line in samples if line.split == "test"]
    answers = scoring.score_answers(
        test, headline=headline, primary_prompt=dataset.task.primary_prompt, seed=options.seed
    )
    probe_lines = judgement.lines if judgement else ()
    probes = scoring.score_probes(
        probe_lines, test, judgement.permutation_p if judgement else {}, seed=options.seed
    )
    health = score_health(probe_lines, test, final=answers.accuracy.value, seed=options.seed)
    status, error = _status(answers.outcomes.error, len(test), options)
    record = Record(
        status=status,
        error=error,
        model=_model_part(description),
        task=_task_part(dataset),
        condition="released",
        answers=answers,
        health=health,
        probes=probes,
        permutation=PermutationPart(draws=PERMUTATION_DRAWS, highest=judgement.chance_band)
        if judgement
        else None,
        diagnosis=None,
        configuration=_configuration(store, options),
        cost=_cost(description, images, options, timing),
        provenance=_provenance(options, timing),
    )
    write_atomically(store.folder / "samples.jsonl", dump_lines(samples))
    write_atomically(store.folder / "probes.jsonl", dump_lines(probe_lines))
    write_atomically(store.folder / "record.json", dump_record(record))
    return record


def sample_lines(
    store: RunStore, dataset: Dataset, images: ask.AskedImages, headline: scoring.Headline
) -> tuple[SampleLine, ...]:
    """Join the stored answers of every step into one line an image."""
    wordings = wordings_of(dataset.task)
    prefilled = store.answers(PREFILL, len(images.observed))
    extra = {
        sample.id: (variant["orders"], written)
        for sample, variant, written in zip(
            images.test,
            store.answers(ask.VARIANTS, len(images.test)),
            store.answers(ask.GENERATE, len(images.test)),
            strict=True,
        )
    }
    lines = []
    for sample, scored in zip(images.observed, prefilled, strict=True):
        orders, written = extra.get(sample.id, ([], None)) if sample.split == "test" else ([], None)
        read = read_class(written["text"], wordings) if written and written["error"] is None else None
        lines.append(_line(sample, scored, orders, written, read, headline))
    return tuple(lines)


def _line(
    sample: Sample,
    scored: Mapping[str, Any],
    orders: Sequence[Mapping[str, Any]],
    written: Mapping[str, Any] | None,
    read: int | None,
    headline: scoring.Headline,
) -> SampleLine:
    by_scores = scoring.best(scored["scores"])
    generated = outcome(read, sample.label, written["error"]) if written is not None else None
    use_text = headline == "generated" and written is not None
    predicted = read if use_text else by_scores
    error = written["error"] if use_text and written is not None else scored["error"]
    final: Outcome = outcome(predicted, sample.label, error)
    return SampleLine(
        id=sample.id,
        split=sample.split,
        pixel_hash=sample.pixel_hash,
        label=sample.label,
        group=sample.group,
        scores=scored["scores"],
        scores_normalised=scored["normalised"],
        predicted=predicted,
        text=written["text"] if written is not None else None,
        read=read,
        outcome=final,
        generated_outcome=generated,
        orders=tuple(
            Asked(
                prompt=o["prompt"], order=o["order"], scores=o["scores"], predicted=scoring.best(o["scores"])
            )
            for o in orders
        ),
        error=scored["error"] or (written["error"] if written else None),
    )


def _status(errors: int, images: int, options: EvalOptions) -> tuple[Any, str | None]:
    if errors == images:
        return "failed", "no test image could be answered; the log and samples.jsonl say why"
    if options.limit is not None:
        return "partial", f"asked about {images} test images (--limit)"
    return "complete", None


def _model_part(description: ModelDescription) -> ModelPart:
    return ModelPart(
        name=description.name,
        hub_id=description.hub_id,
        revision=description.revision,
        architecture=description.architecture,
        parameters=description.parameters,
        engine=description.engine,
        dtype=description.dtype,
    )


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


def _cost(
    description: ModelDescription, images: ask.AskedImages, options: EvalOptions, timing: Timing
) -> CostPart:
    import resource

    spent = timing.seconds.get("observe", 0.0) or timing.seconds.get("answer", 0.0)
    seconds = {
        step: round(timing.seconds.get(step, 0.0), 3) for step in ("load", "answer", "observe", "probe")
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    return CostPart(
        seconds={**seconds, "total": round(timing.total(), 3)},
        images_per_second=round(len(images.observed) / spent, 2) if spent > 0 else None,
        peak_memory_bytes=peak,
        device=description.device,
    )


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
    root = Path(__file__).resolve().parent.parent
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
