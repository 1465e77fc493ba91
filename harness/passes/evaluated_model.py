"""What a record says about the model that answered, and by what its answers are judged."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from harness.passes.engines import LoadedEngine, inner_engine
from leaderboard.record.parts import ModelPart, ParityPart, UsagePart
from leaderboard.record.record import Condition, Headline
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.tuned import TunedModel, tuned_by
from model_adapters.interface import Engine, Metered, ModelDescription, Usage
from tasks.spec import TaskSpec

_DECIMALS = 6


@dataclass(frozen=True)
class EvaluatedModel:
    """The model of a run: its part of the record, its description, and where its headline comes from."""

    part: ModelPart
    description: ModelDescription
    headline: Headline
    condition: Condition = "released"
    tuned: TunedModel | None = None
    usage: UsagePart | None = None


def usage_so_far(engine: Engine) -> Usage | None:
    """Return what a server was asked for since the engine was loaded, None without a server."""
    return engine.usage if isinstance(engine, Metered) else None


def evaluated_model(
    card: ModelCard, task: TaskSpec, loaded: LoadedEngine, before: Usage | None
) -> EvaluatedModel:
    """Describe the model that answered a task; `before` is what had been used when the run began.

    The parsed text is the headline where the card says so, and where the engine gives no label scores.
    """
    engine = loaded.engine
    description = engine.description
    by_text = card.headline == "generated" or not description.abilities.label_scores
    parity = loaded.parity
    part = ModelPart(
        name=description.name,
        hub_id=description.hub_id,
        revision=description.revision,
        architecture=description.architecture,
        parameters=description.parameters,
        engine=description.engine,
        dtype=description.dtype,
        role="reference" if card.classifier is not None else "model",
        watched_by=_watched_by(loaded),
        parity=None if parity is None else ParityPart(**_rounded(asdict(parity))),
        seen_in_training=seen_in_training(card, task),
        remarks=description.remarks,
        base=card.base,
        family=card.classifier.family if card.classifier else None,
    )
    usage = _difference(usage_so_far(engine), before)
    headline: Headline = "generated" if by_text else "scores"
    return EvaluatedModel(part, description, headline, card.condition, tuned_by(card), usage)


def _difference(after: Usage | None, before: Usage | None) -> UsagePart | None:
    if after is None or before is None:
        return None
    cost = None if after.cost is None or before.cost is None else after.cost - before.cost
    return UsagePart(
        requests=after.requests - before.requests,
        retries=after.retries - before.retries,
        failures=after.failures - before.failures,
        input_tokens=after.input_tokens - before.input_tokens,
        output_tokens=after.output_tokens - before.output_tokens,
        cost=cost,
        currency=after.currency,
    )


def seen_in_training(card: ModelCard, task: TaskSpec) -> bool | None:
    """Tell whether a task's images are known to be among those that a model was trained on.

    A subset of a task, as "pathmnist-1k" of "pathmnist", has images of the whole. None: not known.
    """
    if not card.trained_on:
        return None
    return any(task.id == name or task.id.startswith(f"{name}-") for name in card.trained_on)


def _watched_by(loaded: LoadedEngine) -> str | None:
    watching = inner_engine(loaded.engine)
    return None if watching is loaded.engine else watching.description.engine


def _rounded(values: dict[str, object]) -> dict[str, object]:
    return {key: round(v, _DECIMALS) if isinstance(v, float) else v for key, v in values.items()}
