"""Prove that a model is understood: parts found, layers watched, tokens counted, scores its own.

Every check that fails names the key of the card to look at. The pictures are noise, so nothing here depends
on what the model knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np

from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import load_engine
from model_adapters.checks.questions import WORDS, noise_queries
from model_adapters.engines.paired.parity import SHARED_ARGUMENTS, SHARED_MEMORY, measure_parity
from model_adapters.interface import Engine, LabelScores, ModelError, Query
from model_adapters.support.device_memory import has_gpu

_WRITTEN = 4  # tokens


@dataclass(frozen=True)
class Finding:
    """What one check found. `passed` is None where it could not be made, and `detail` says why."""

    check: str
    passed: bool | None
    detail: str


def check_model(
    card: ModelCard,
    *,
    engine: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
    offline: bool = False,
    model_args: Mapping[str, str] | None = None,
) -> tuple[Finding, ...]:
    """Load a card's model and check it; the checks after one that the others need are not made.

    Returns the findings in order. Nothing is raised for a model that is wrong: that is a finding.
    """
    chosen = card.engine if engine == "auto" else engine
    arguments = dict(model_args or {})
    if chosen == "vllm" and has_gpu():
        arguments.setdefault("gpu_memory_utilization", SHARED_MEMORY)

    def load(name: str, given: Mapping[str, str]) -> Engine:
        return load_engine(
            card,
            engine=name,
            device=device,
            trust_remote_code=trust_remote_code,
            offline=offline,
            model_args=given,
        )

    try:
        loaded = load(chosen, arguments)
    except ModelError as error:
        return (Finding("loads", False, _without_name(error, card)),)
    with closing(loaded):
        findings = tuple(_findings(card, loaded))
        if chosen != "vllm":
            return findings
        shared = {key: value for key, value in arguments.items() if key in SHARED_ARGUMENTS}
        return (
            *findings,
            _made("engine parity", card, lambda: _parity(loaded, load("transformers", shared))),
        )


def _findings(card: ModelCard, engine: Engine) -> Iterator[Finding]:
    from model_adapters.checks.inner_check import INNER_CHECKS
    from model_adapters.engines.transformers.engine import TransformersEngine

    described = engine.description
    millions = (
        f"{described.parameters / 1e6:,.1f} million" if described.parameters else "an unknown number of"
    )
    what = f"{described.architecture}, {millions} parameters, {described.dtype} on {described.device}"
    yield Finding("loads", True, what)
    for remark in described.remarks:
        about_card = remark.startswith(
            "the card says"
        )  # `compare_with_card`; the others are worth reading, no faults
        yield Finding("card" if about_card else "remark", False if about_card else None, remark)
    if isinstance(engine, TransformersEngine):
        for name, check in INNER_CHECKS.items():
            yield _made(name, card, partial(check, engine))
    else:
        alone = f"the engine {described.engine} shows no layers: its records hold answers alone"
        yield Finding("sites", None, alone)
    if described.abilities.label_scores and described.abilities.reads_prompts:
        yield _made("label scores", card, lambda: _scores(engine))
    if described.abilities.generation:
        yield _made("free text", card, lambda: _text(engine))


def _made(name: str, card: ModelCard, check: Callable[[], str]) -> Finding:
    """Make a check: it returns what it found, or raises `ModelError` where the model is not as it should be."""
    try:
        return Finding(name, True, check())
    except ModelError as error:
        return Finding(name, False, _without_name(error, card))


def _without_name(error: ModelError, card: ModelCard) -> str:
    return str(error).removeprefix(f"{card.name}: ")


def _scores(engine: Engine) -> str:
    """Check that scores do not depend on the company: together, alone, and in another order of the labels."""
    queries = noise_queries()
    together = [s.normalised for s in _scored(engine, queries)]
    alone = [_scored(engine, [query])[0].normalised for query in queries]
    turned = [s.normalised[::-1] for s in _scored(engine, noise_queries(WORDS[::-1]))]
    pairs = [pair for other in (alone, turned) for pair in zip(together, other, strict=True)]
    largest = max(float(np.abs(np.subtract(a, b)).max()) for a, b in pairs)
    limit = _rounding(engine)
    if largest > limit:
        raise ModelError(
            f"label scores change by {largest:.2g} nats a token with the batch or the order of the labels "
            f"({limit} is rounding); try attn_implementation: eager or dtype: float32 on the card"
        )
    return f"the same in a batch of unequal sizes and alone, within {largest:.1g} nats a token"


def _parity(fast: Engine, slow: Engine) -> str:
    """Check that a fast engine's answers are those of the transformers engine."""
    with closing(slow):
        found = measure_parity(fast, slow, noise_queries(), max_new_tokens=_WRITTEN)
    if found.top1_agreement is None or found.largest_difference is None:
        raise ModelError(f"nothing could be compared ({found.detail})")
    said = (
        f"the same label on {found.top1_agreement:.0%} of {found.images} pictures, at most "
        f"{found.largest_difference:.2g} nats apart"
    )
    if found.top1_agreement < 1 or found.largest_difference > _rounding(fast):
        raise ModelError(f"vllm and transformers disagree: {said}; answer with --engine transformers")
    return said


def _rounding(engine: Engine) -> float:
    """Return how far two log-likelihoods may be apart, in nats, that are the same up to rounding."""
    return 1e-3 if engine.description.dtype == "float32" else 0.25


def _scored(engine: Engine, queries: Sequence[Query]) -> tuple[LabelScores, ...]:
    found = engine.score(queries).scores
    for query, scores in zip(queries, found, strict=True):
        if scores.error is not None:
            raise ModelError(f"picture {query.id} has no scores ({scores.error})")
    return found


def _text(engine: Engine) -> str:
    written = engine.generate(noise_queries(), max_new_tokens=_WRITTEN)
    for one in written:
        if one.error is not None:
            raise ModelError(f"no text could be written ({one.error})")
    return f"writes, for instance {written[0].text!r}"
