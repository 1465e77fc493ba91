"""Load what a run needs: the engine that answers, the one that watches, and how well the two agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.console import Console
from harness.plan.model_availability import engine_of
from harness.plan.options import EvalOptions
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import load_engine, packaged_engine
from model_adapters.interface import Engine, EngineParity, ModelError, Query
from model_adapters.support.device_memory import has_gpu

if TYPE_CHECKING:
    from model_adapters.engines.paired.parity import RecordedAnswers

# Gives questions about a few images; nothing is read where no engine is compared.
Questions = Callable[[], Sequence[Query]]

PARITY_IMAGES = 8
_PARITY_TOKENS = 8  # written freely, to be compared
_WATCHING = "transformers"
_ELSEWHERE = "compared on another task of the same command"


@dataclass(frozen=True)
class LoadedEngine:
    """A loaded engine; `parity` is None where it is itself the engine that others are compared with."""

    engine: Engine
    parity: EngineParity | None = None


def inner_engine(engine: Engine) -> Engine:
    """Return the engine whose layers are watched and may be changed: of two that share a run, the second."""
    from model_adapters.engines.paired.engine import AnsweringAndWatching

    return engine.watching if isinstance(engine, AnsweringAndWatching) else engine


def packaged_title(card: ModelCard, options: EvalOptions) -> str | None:
    """Name the engine of a run where another package brings it, None where it is one of ours."""
    packaged = packaged_engine(engine_of(card, options))
    return None if packaged is None else packaged.title


def load_for_run(
    card: ModelCard, options: EvalOptions, questions: Questions, console: Console
) -> LoadedEngine:
    """Load the engine that a run asks for.

    With vLLM the `questions` are put to the transformers engine as well, before any answer counts.
    That engine stays where layers are to be watched; where not, it is gone before vLLM is loaded, so that one
    model is in memory at a time.

    Raises:
        ModelError: the engine cannot be loaded, or with vLLM the one that it is compared with cannot be and
            layers were to be watched.
    """
    console.say(f"loading {card.name}")
    if engine_of(card, options) != "vllm":
        return LoadedEngine(_load(card, options, engine_of(card, options)))
    from model_adapters.engines.paired.engine import AnsweringAndWatching
    from model_adapters.engines.paired.parity import measure_parity

    asked = questions()
    with ExitStack() as failing:  # nothing stays in memory where the next step fails
        if options.probe:
            watching = _closed_by(failing, _load(card, options, _WATCHING))
            answering = _closed_by(failing, _load(card, options, "vllm"))
            parity = measure_parity(answering, watching, asked, max_new_tokens=_PARITY_TOKENS)
            loaded = LoadedEngine(AnsweringAndWatching(answering, watching), parity)
        else:
            recorded = _answers_of_watching(card, options, asked)
            answering = _closed_by(failing, _load(card, options, "vllm"))
            parity = (
                EngineParity(0, None, None, None, detail=f"not compared with transformers: {recorded}")
                if isinstance(recorded, ModelError)
                else measure_parity(answering, recorded, asked, max_new_tokens=_PARITY_TOKENS)
            )
            loaded = LoadedEngine(answering, parity)
        failing.pop_all()
        return loaded


def compared_anew(loaded: LoadedEngine, questions: Questions) -> LoadedEngine:
    """Return an engine that goes on to another task, compared on that task's questions.

    One that answers alone was compared before it was loaded and keeps that; `detail` says where it is from.
    """
    from model_adapters.engines.paired.engine import AnsweringAndWatching
    from model_adapters.engines.paired.parity import measure_parity

    engine, parity = loaded.engine, loaded.parity
    if isinstance(engine, AnsweringAndWatching):
        parity = measure_parity(engine.answering, engine.watching, questions(), max_new_tokens=_PARITY_TOKENS)
    elif parity is not None and _ELSEWHERE not in (parity.detail or ""):
        parity = replace(parity, detail="; ".join(filter(None, (parity.detail, _ELSEWHERE))))
    return replace(loaded, parity=parity)


def _answers_of_watching(
    card: ModelCard, options: EvalOptions, questions: Sequence[Query]
) -> RecordedAnswers | ModelError:
    """Return what the transformers engine answers, or why it cannot be loaded; it is gone afterwards."""
    from model_adapters.engines.paired.parity import recorded_answers

    try:
        slow = _load(card, options, _WATCHING)
    except ModelError as error:
        return error
    with closing(slow):
        return recorded_answers(slow, questions, max_new_tokens=_PARITY_TOKENS)


def _closed_by(stack: ExitStack, engine: Engine) -> Engine:
    stack.callback(engine.close)
    return engine


def _load(card: ModelCard, options: EvalOptions, engine: str) -> Engine:
    from model_adapters.engines.paired.parity import SHARED_ARGUMENTS, SHARED_MEMORY

    arguments = dict(options.model_args)
    if engine_of(card, options) == "vllm":
        if engine == _WATCHING:
            arguments = {key: value for key, value in arguments.items() if key in SHARED_ARGUMENTS}
        elif options.probe and has_gpu():
            arguments.setdefault("gpu_memory_utilization", SHARED_MEMORY)
    return load_engine(
        card,
        engine=engine,
        device=options.device,
        batch_size=options.batch_size,
        trust_remote_code=options.trust_remote_code,
        offline=options.offline,
        model_args=arguments,
    )
