"""Conduct a fine-tuning: data, halves, model, training, and the tuned folder, written last and whole."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from harness.console import Console
from harness.data.dataset import DataError, Dataset, Sample
from harness.data.sources import load_dataset
from harness.passes.training import labelled_images
from harness.plan.configuration import package_version
from harness.plan.tuning_halves import ALL, tuning_halves
from harness.tuning.folder import TuningImages, about_tuning, finished, write_tuned
from harness.tuning.options import FinetuneOptions
from model_adapters.catalog.card import PROMPT_ARGUMENTS, with_prompt
from model_adapters.catalog.revision import card_revision
from model_adapters.catalog.tuned import TunedModel, ValidationResult
from model_adapters.finetune.settings import TuningSettings
from model_adapters.interface import ModelError, TrainingImages
from tasks.files import alone, json_hash
from tasks.questions import label_question
from tasks.subset import select

if TYPE_CHECKING:
    from model_adapters.engines.transformers.engine import TransformersEngine
    from model_adapters.finetune.checkpoints import Checkpoints
    from model_adapters.finetune.language import TuningTask
    from model_adapters.finetune.lora import Attached
    from model_adapters.finetune.training import Objective, Tuned

# Raised when the same arguments may give other weights.
TUNING_VERSION = 1
_PINNED = ("torch", "transformers", "peft")  # a checkpoint is continued by the same versions only


def finetune(options: FinetuneOptions, console: Console) -> TunedModel:
    """Fine-tune a model on one half of a task's training images and write it to a folder of its own.

    What was done is kept: the same call goes on after the last checkpoint, and does nothing where all is done.

    Raises:
        DataError, ModelError: what it needs is missing or damaged, or the folder holds another tuning.
        KeyboardInterrupt: it was interrupted, and left a checkpoint.
    """
    _refuse(options)
    options = _with_arguments(options)
    dataset = load_dataset(
        options.task,
        data_dir=options.data_dir,
        offline=options.offline,
        assume_yes=options.assume_yes,
        max_train=ALL,
        progress=console.step,
    )
    images = _choose(dataset, options)
    base = card_revision(options.card, offline=options.offline)
    key = _key(options, dataset, images, base)
    title = f"{options.card.name} on {options.task.id}"
    lock = options.output.with_name(f".{options.output.name}.lock")
    with alone(options.output, "fine-tuning", ModelError, lock=lock):
        done = finished(options, key)
        if done is not None:
            console.say(f"{title}: fine-tuned before, nothing to do ({options.output})")
            return done
        _say_sizes(console, title, dataset, images)
        return _tune(options, dataset, images, base, key, console)


def _refuse(options: FinetuneOptions) -> None:
    from model_adapters.engines.transformers.adapter import require_peft

    card = options.card
    if card.endpoint is not None or card.classifier is not None:
        raise ModelError(f"{card.name}: has no weights here that could be fine-tuned")
    if card.adapter is not None:
        raise ModelError(f"{card.name}: {card.adapter} is tuned already; name the model that it comes from")
    require_peft(card.name)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ModelError("fine-tuning runs in one process; start it without torchrun or accelerate launch")


def _with_arguments(options: FinetuneOptions) -> FinetuneOptions:
    """Move model arguments that a card has keys for to the card, so that the tuned model's card has them too."""
    arguments = dict(options.model_args)
    card = with_prompt(options.card, arguments)
    if "revision" in arguments:
        card = card.model_copy(update={"revision": arguments["revision"]})
    left = {k: v for k, v in arguments.items() if k not in (*PROMPT_ARGUMENTS, "revision")}
    return replace(options, card=card, model_args=left)


def _choose(dataset: Dataset, options: FinetuneOptions) -> TuningImages:
    validation = dataset.split("val")
    for name in ("train", "val"):
        if not dataset.split(name):
            raise DataError(f"{dataset.task.id}: no {name} image, so no model can be fine-tuned on it")
    halves = tuning_halves(dataset)
    classes = range(len(dataset.task.classes))
    for name, half in (("tuning", halves.tuning), ("probing", halves.probing)):
        missing = set(classes) - {sample.label for sample in half}
        if missing:
            named = dataset.task.classes[min(missing)].name
            raise DataError(
                f"{dataset.task.id}: its training images cannot be halved by group: the {name} half "
                f"has none of class {named}"
            )
    seed = dataset.task.seed
    train = _subset(halves.tuning, options.limit_train, seed)
    return TuningImages(halves.tuning, train, _subset(validation, options.limit_validation, seed))


def _subset(samples: tuple[Sample, ...], size: int | None, seed: int) -> tuple[Sample, ...]:
    if size is None or size >= len(samples):
        return samples
    chosen = select([s.id for s in samples], [s.label for s in samples], size, seed)
    return tuple(samples[place] for place in chosen)


def _key(options: FinetuneOptions, dataset: Dataset, images: TuningImages, base: str) -> str:
    """Return a hash of all that decides the weights, the device aside."""
    card = options.card
    parts: dict[str, Any] = {
        "version": TUNING_VERSION,
        "model": [card.name, base, card.prompt.model_dump(), card.processor, card.dtype],
        "model_args": dict(sorted(options.model_args.items())),
        "settings": asdict(options.settings),
        "task": dataset.task.model_dump(mode="json"),
        "data": dataset.fingerprint,
        "train": _lines(images.train),
        "validation": _lines(images.validation),
        "packages": {name: package_version(name) for name in _PINNED},
    }
    return json_hash(parts)[:32]


def _lines(samples: Sequence[Sample]) -> list[list[object]]:
    return [[s.id, s.label, s.pixel_hash] for s in samples]


def _say_sizes(console: Console, title: str, dataset: Dataset, images: TuningImages) -> None:
    halves = f"{len(images.half)} of {len(dataset.split('train'))} training images may be tuned on"
    used = "" if len(images.train) == len(images.half) else f", {len(images.train)} are"
    console.say(f"{title}: {halves}{used}; {len(images.validation)} validation images choose")


def _tune(
    options: FinetuneOptions, dataset: Dataset, images: TuningImages, base: str, key: str, console: Console
) -> TunedModel:
    from model_adapters.finetune.checkpoints import Checkpoints
    from model_adapters.finetune.lora import attach

    engine = _load(options, console)
    try:
        task = _tuning_task(dataset, images, key)
        attached = attach(engine, options.settings)
        objective = _objective(engine, attached, task, options.settings)
        checkpoints = Checkpoints(options.output, key)
        tuned = _train(objective, options, checkpoints, console)
        about = about_tuning(options, dataset, images, base, key, objective, tuned, engine.description.dtype)
        write_tuned(options, attached, tuned, about)
        checkpoints.remove()
    finally:
        engine.close()
    _say_gain(console, options, about)
    return about


def _load(options: FinetuneOptions, console: Console) -> TransformersEngine:
    """Load the model; one whose weights are in float16 in a precision in which it can be tuned."""
    from model_adapters.catalog.registry import load_engine
    from model_adapters.engines.transformers.engine import TransformersEngine

    def load(dtype: str | None) -> TransformersEngine:
        engine = load_engine(
            options.card,
            engine="transformers",
            device=options.device,
            dtype=dtype,
            trust_remote_code=options.trust_remote_code,
            offline=options.offline,
            model_args=options.model_args,
        )
        assert isinstance(engine, TransformersEngine)
        return engine

    console.say(f"loading {options.card.name}")
    engine = load(None)
    if engine.description.dtype != "float16" or "dtype" in options.model_args:
        return engine
    better = "float32" if engine.description.device == "cpu" else "bfloat16"
    engine.close()
    console.say(f"{options.card.name}: its weights are in float16; fine-tuning in {better}")
    return load(better)


def _tuning_task(dataset: Dataset, images: TuningImages, key: str) -> TuningTask:
    from model_adapters.finetune.language import TuningTask

    question = label_question(dataset.task, dataset.task.primary)
    train, validation = (labelled_images(dataset, part) for part in (images.train, images.validation))
    return TuningTask(question.text, TrainingImages(key, question.labels, train, validation))


def _objective(
    engine: TransformersEngine, attached: Attached, task: TuningTask, settings: TuningSettings
) -> Objective:
    if settings.part == "vision":
        from model_adapters.finetune.vision_head import VisionObjective

        return VisionObjective(engine, attached, task, settings)
    from model_adapters.finetune.language import LanguageObjective

    return LanguageObjective(engine, attached, task, settings)


def _train(
    objective: Objective, options: FinetuneOptions, checkpoints: Checkpoints, console: Console
) -> Tuned:
    from model_adapters.finetune.lora import count
    from model_adapters.finetune.training import Tuning

    tuning = Tuning(objective, options.settings, checkpoints)
    if tuning.step:
        console.say(f"goes on after step {tuning.step} of {tuning.total}")
    else:
        console.say(
            f"{count(objective.parameters.values()):,} weights to train, {tuning.total} steps at most"
        )

    def report(look: ValidationResult) -> None:
        console.say(f"step {look.step} of {tuning.total}: {_spoken(look)}")

    with (
        _interruptible(console) as interrupted,
        console.step("fine-tuning", tuning.total - tuning.step, unit="steps") as advance,
    ):
        return tuning.run(advance, report, interrupted)


def _spoken(look: ValidationResult) -> str:
    return f"validation balanced accuracy {100 * look.balanced_accuracy:.1f}%, log-loss {look.log_loss:.3f}"


@contextmanager
def _interruptible(console: Console) -> Iterator[Callable[[], bool]]:
    """Yield what tells whether Ctrl-C was pressed: the first time a step is finished, the second time not."""
    asked: list[int] = []

    def note(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        console.say("stopping after this step, with a checkpoint; Ctrl-C again stops at once")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)


def _say_gain(console: Console, options: FinetuneOptions, about: TunedModel) -> None:
    before = next(look for look in about.looks if look.step == 0)
    after = next(look for look in about.looks if look.step == about.kept)
    console.say(
        f"kept the weights of step {about.kept}: validation balanced accuracy "
        f"{100 * before.balanced_accuracy:.1f}% -> {100 * after.balanced_accuracy:.1f}%"
    )
    if after.balanced_accuracy <= before.balanced_accuracy:
        console.say("that is no gain over the model as it was; see the settings, or tune longer")
    console.say(f"evaluate it with: harness eval --tasks {options.task.id} --models {options.output}")
