"""One run: one model on one task. Load, ask, watch, score, file; each verb is one line of `_conduct`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from harness.console import Console
from harness.data.dataset import Dataset
from harness.data.sources import load_dataset
from harness.passes.answers import ask_all
from harness.passes.context import Run
from harness.passes.engines import PARITY_IMAGES, LoadedEngine, Questions
from harness.passes.evaluated_model import EvaluatedModel, evaluated_model, usage_so_far
from harness.passes.prompts import query_of
from harness.passes.store import RunStore
from harness.passes.timing import Timing, time_by_step
from harness.passes.training import train_engine
from harness.plan.configuration import engine_configuration, make_configuration
from harness.plan.options import EvalOptions
from harness.plan.plan import PlannedRun
from harness.plan.tuning_halves import ALL, without_tuned_images
from harness.run.filing import file_record, finished_record, scoring_settings
from harness.run.sample_lines import sample_lines
from harness.watch.floors import floors_key
from harness.watch.watch import LayerFindings, watch
from leaderboard.record.record import Record
from leaderboard.scoring.score import Declared, Lines, score
from model_adapters.catalog.tuned import tuned_by
from model_adapters.interface import Query, Trainable
from tasks.questions import label_question

# Loads a model; it may ask for questions about a few of the task's images, to compare engines by.
Load = Callable[[Questions], LoadedEngine]


def run(planned: PlannedRun, load: Load, options: EvalOptions, console: Console) -> Record:
    """Do one run, or finish it, or return its record where it is done already.

    Raises:
        DataError, ModelError, StoreError: what the run needs is missing, or its folder cannot be used.
    """
    timing = Timing(started=datetime.now(UTC))
    with timing.of("data"):
        dataset = _load_data(planned, options, console)
    configuration = make_configuration(planned.card, dataset, options)
    key = None
    if options.probe:
        key = floors_key(dataset, options.seed, options.reference, offline=options.offline)
    settings = scoring_settings(options, key)
    with RunStore(planned.folder, configuration, overwrite=options.overwrite) as store:
        done = finished_record(store, settings)
        if done is not None:
            console.say(f"{planned.title}: done before, nothing to do ({planned.folder})")
            return done
        with console.logging_to(planned.folder / "log.txt"):
            console.say(f"{planned.title}: {_sizes(dataset)}")
            with timing.of("load"):
                loaded = load(lambda: _first_questions(dataset))
            current = Run(store, loaded.engine, dataset, options, console, timing)
            return _conduct(planned, loaded, current, settings)


def _conduct(planned: PlannedRun, loaded: LoadedEngine, run: Run, settings: Mapping[str, Any]) -> Record:
    used = usage_so_far(run.engine)
    _prepare(planned, run)
    ask_all(run, planned.card.max_new_tokens or run.dataset.task.max_new_tokens)
    layers = watch(run) if run.observes else None
    model = evaluated_model(planned.card, run.dataset.task, loaded, used)
    lines = Lines(sample_lines(run, model.headline), layers.lines if layers else ())
    with run.timing.of("scores"):
        scores = score(lines, _declared(run, model, layers))
    record = file_record(run, model, lines, layers, scores, settings)
    _say_what_is_missing(planned, run, record)
    run.console.say(f"{planned.title}: {time_by_step(run.timing.seconds, run.timing.total())}")
    return record


def _declared(run: Run, model: EvaluatedModel, layers: LayerFindings | None) -> Declared:
    """Return what the run knows and its lines do not show."""
    known = (run.dataset.task, model.headline, run.options.seed)
    if layers is None:
        return Declared(*known)
    probes = layers.probes
    return Declared(*known, probes.permutation, probes.permutation_p, layers.floors, layers.similarity)


def _prepare(planned: PlannedRun, run: Run) -> None:
    """Train an engine that must be trained, and pin the one that answers to the store."""
    if isinstance(run.engine, Trainable):
        with run.timing.of("train"):
            train_engine(run.engine, run.dataset, seed=run.options.seed, progress=run.console.step)
    for remark in run.engine.description.remarks:
        run.console.say(f"{planned.title}: {remark}")
    run.store.pin_engine(engine_configuration(run.engine.description))


def _say_what_is_missing(planned: PlannedRun, run: Run, record: Record) -> None:
    missing = []
    if run.options.probe and not run.observes and record.model.role == "model":
        missing.append(f"the engine {run.engine.description.engine} shows no layers: answers alone")
    if run.observes and record.diagnosis is None:
        missing.append(
            "no verdict: it needs the readout linear at every place, and label scores as the headline, for "
            "train, validation and test"
        )
    if record.causal_detail is not None:
        missing.append(f"no causal check: {record.causal_detail}")
    for what in missing:
        run.console.say(f"{planned.title}: {what}")


def _first_questions(dataset: Dataset) -> tuple[Query, ...]:
    """Return the task's primary question about its first test images."""
    question = label_question(dataset.task, dataset.task.primary)
    return tuple(query_of(question, s.id, dataset.read(s)) for s in dataset.split("test")[:PARITY_IMAGES])


def _load_data(planned: PlannedRun, options: EvalOptions, console: Console) -> Dataset:
    halved = options.probing_half or tuned_by(planned.card) is not None
    dataset = load_dataset(
        planned.task,
        data_dir=options.data_dir,
        offline=options.offline,
        assume_yes=options.assume_yes,
        limit=options.limit,
        max_train=ALL if halved else options.max_train,
        progress=console.step,
    )
    return without_tuned_images(dataset, planned.card, options.max_train) if halved else dataset


def _sizes(dataset: Dataset) -> str:
    counts = ", ".join(f"{len(dataset.split(name))} {name}" for name in ("train", "val", "test"))
    kind = "official data" if dataset.official else "unofficial data"
    return f"{counts} images, {kind}"
