"""One run: one model on one task. Ask, watch, judge, file; each verb is one step below."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from harness.console import Console
from harness.data.dataset import Dataset
from harness.data.sources import load_dataset
from harness.passes import ask
from harness.passes.answering import answering_model, usage_so_far
from harness.passes.engines import PARITY_IMAGES, LoadedEngine, Questions, inner_engine
from harness.passes.prompts import query_of
from harness.passes.store import RunStore
from harness.passes.timing import Timing, time_by_step
from harness.passes.training import train_engine
from harness.plan.configuration import engine_configuration, make_configuration
from harness.plan.options import EvalOptions
from harness.plan.plan import PlannedRun
from harness.plan.tuning_halves import without_tuned_images
from harness.run.filing import file_record, finished_record, judgement_settings
from harness.watch.causal import causal_check
from harness.watch.floors import floors_key
from harness.watch.layer_checks import connector_similarity, projection_check
from harness.watch.letters_target import ask_letters, judge_letters, target_images
from harness.watch.probing import judge
from harness.watch.run_floors import run_floors
from harness.watch.watched import Watched
from leaderboard.record.record import Record
from model_adapters.interface import Engine, Query, Trainable
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
    settings = judgement_settings(options, key)
    with RunStore(planned.folder, configuration, overwrite=options.overwrite) as store:
        done = finished_record(store, settings)
        if done is not None:
            console.say(f"{planned.title}: done before, nothing to do ({planned.folder})")
            return done
        with console.logging_to(planned.folder / "log.txt"):
            console.say(f"{planned.title}: {_sizes(dataset)}")
            with timing.of("load"):
                loaded = load(lambda: _first_questions(dataset))
            engine = loaded.engine
            used = usage_so_far(engine)
            if isinstance(engine, Trainable):
                with timing.of("train"):
                    train_engine(engine, dataset, seed=options.seed, progress=console.step)
            for remark in engine.description.remarks:
                console.say(f"{planned.title}: {remark}")
            store.pin_engine(engine_configuration(engine.description))
            observe = options.probe and bool(engine.sites)
            images = ask.asked_images(dataset, engine.description.abilities, probe=observe)
            _answer(store, engine, dataset, images, observe, planned, timing, console)
            watched = _watch(store, engine, dataset, images, options, timing, console) if observe else None
            answering = answering_model(planned.card, dataset.task, loaded, used)
            record = file_record(store, answering, dataset, images, watched, settings, options, timing)
            if options.probe and not observe and answering.part.role == "model":
                console.say(
                    f"{planned.title}: the engine {engine.description.engine} shows no layers: answers alone"
                )
            if watched is not None and record.diagnosis is None:
                console.say(
                    f"{planned.title}: no verdict: it needs the readout linear at every place, and label scores "
                    "as the headline, for train, validation and test"
                )
            if record.causal_detail is not None:
                console.say(f"{planned.title}: no causal check: {record.causal_detail}")
            console.say(f"{planned.title}: {time_by_step(timing.seconds, timing.total())}")
            return record


def _first_questions(dataset: Dataset) -> tuple[Query, ...]:
    """Return the task's primary question about its first test images."""
    question = label_question(dataset.task, dataset.task.primary)
    return tuple(query_of(question, s.id, dataset.read(s)) for s in dataset.split("test")[:PARITY_IMAGES])


def _load_data(planned: PlannedRun, options: EvalOptions, console: Console) -> Dataset:
    def load(max_train: int | None) -> Dataset:
        return load_dataset(
            planned.task,
            data_dir=options.data_dir,
            offline=options.offline,
            assume_yes=options.assume_yes,
            limit=options.limit,
            max_train=max_train,
            progress=console.step,
        )

    return without_tuned_images(
        planned.card, planned.task, load, options.max_train, probing_half=options.probing_half
    )


def _answer(
    store: RunStore,
    engine: Engine,
    dataset: Dataset,
    images: ask.AskedImages,
    observe: bool,
    planned: PlannedRun,
    timing: Timing,
    console: Console,
) -> None:
    what = "answers and features" if observe else "answers"
    with timing.of("observe" if observe else "answer"), console.step(what, len(images.observed)) as advance:
        ask.prefill(store, engine, dataset, images.observed, observe=observe, advance=advance)
    if images.varied:
        with (
            timing.of("answer"),
            console.step("option orders and paraphrases", len(images.varied)) as advance,
        ):
            ask.variants(store, engine, dataset, images.varied, advance=advance)
    if images.written:
        limit = planned.card.max_new_tokens or dataset.task.max_new_tokens
        with timing.of("answer"), console.step("free answers", len(images.written)) as advance:
            ask.generate(store, engine, dataset, images.written, max_new_tokens=limit, advance=advance)


def _watch(
    store: RunStore,
    engine: Engine,
    dataset: Dataset,
    images: ask.AskedImages,
    options: EvalOptions,
    timing: Timing,
    console: Console,
) -> Watched:
    """Ask for the letters, compute the floors, judge what the layers carry, and on request what is used."""
    asked = target_images(dataset) if options.answer_target else ()
    if asked:
        with timing.of("letters"), console.step("letters of the right option", len(asked)) as advance:
            ask_letters(store, engine, dataset, asked, advance=advance)
    floors = run_floors(store, engine, dataset, options, timing, console)
    with timing.of("probe"):
        judgement = judge(store, engine, images.observed, dataset.task, options, console)
    with timing.of("letters"):
        letter_lines = judge_letters(store, engine, dataset, asked, images.observed)
    classes, seed, device = len(dataset.task.classes), options.seed, engine.description.device
    with timing.of("checks"):
        similarity = connector_similarity(store, images.observed, judgement.lines, classes, seed=seed)
        projection = projection_check(
            store, engine.sites, images.observed, judgement.lines, classes, seed=seed, device=device
        )
    causal = None
    if options.causal:
        with timing.of("causal"):
            causal = causal_check(
                store, inner_engine(engine), dataset, images.observed, seed=seed, console=console
            )
    return Watched(judgement, floors.declared, floors.lines, letter_lines, similarity, projection, causal)


def _sizes(dataset: Dataset) -> str:
    counts = ", ".join(f"{len(dataset.split(name))} {name}" for name in ("train", "val", "test"))
    kind = "official data" if dataset.official else "unofficial data"
    return f"{counts} images, {kind}"
