"""How far two engines agree about one model, measured on a few questions before the fast one's answers count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from model_adapters.interface import (
    Engine,
    EngineParity,
    Generation,
    LabelScores,
    ModelDescription,
    ModelError,
    Observation,
    Query,
)
from probes.sites import Site

NEW_TOKENS = 32  # of the texts that are compared
# Model arguments that mean the same to both engines; the others are the fast one's own.
SHARED_ARGUMENTS = frozenset({"system", "answer_prefix", "label_prefix", "revision", "dtype"})
SHARED_MEMORY = "0.45"  # of the GPU's memory, what vLLM may take where both are on the same one

Result = TypeVar("Result", LabelScores, Generation)


def measure_parity(
    fast: Engine, slow: Engine, queries: Sequence[Query], *, max_new_tokens: int = NEW_TOKENS
) -> EngineParity:
    """Put the same queries to both engines and compare label scores and greedy texts.

    `top1_agreement` is the share of queries with the same label of the largest raw score (the first of equal
    ones), `largest_difference` the largest absolute difference of a label's raw score, in nats, `same_text`
    the share of equal texts. `images` counts the queries whose scores were compared. A query about which one
    engine has an error enters no number; `detail` says how many there were, and why the first.
    """
    names = (fast.description.engine, slow.description.engine)
    scores, left_out = _both(fast.score(queries).scores, slow.score(queries).scores, queries, names)
    details = [f"scores of {left_out}"] if left_out else []
    same_text = None
    if fast.description.abilities.generation and slow.description.abilities.generation:
        texts, left_out = _both(
            fast.generate(queries, max_new_tokens=max_new_tokens),
            slow.generate(queries, max_new_tokens=max_new_tokens),
            queries,
            names,
        )
        details += [f"texts of {left_out}"] if left_out else []
        same_text = _share([one.text == other.text for one, other in texts])
    return EngineParity(
        images=len(scores),
        top1_agreement=_share([_best(one) == _best(other) for one, other in scores]),
        largest_difference=max((_difference(one, other) for one, other in scores), default=None),
        same_text=same_text,
        detail="; ".join(details) or None,
    )


def _both(
    fast: Sequence[Result], slow: Sequence[Result], queries: Sequence[Query], names: tuple[str, str]
) -> tuple[list[tuple[Result, Result]], str]:
    """Return the pairs in which neither has an error, and a clause about the others, empty without any."""
    pairs = list(zip(fast, slow, strict=True))
    whole = [pair for pair in pairs if pair[0].error is None and pair[1].error is None]
    failed = [
        f"{query.id!r}, {name}: {result.error}"
        for query, pair in zip(queries, pairs, strict=True)
        for name, result in zip(names, pair, strict=True)
        if result.error is not None
    ]
    count = len(pairs) - len(whole)
    return whole, f"{count} of {len(pairs)} could not be compared ({failed[0]})" if failed else ""


def _best(scores: LabelScores) -> int:
    return scores.raw.index(max(scores.raw))


def _difference(one: LabelScores, other: LabelScores) -> float:
    return max(abs(a - b) for a, b in zip(one.raw, other.raw, strict=True))


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


class RecordedAnswers:
    """What an engine answered to some queries: it can be closed, and another be compared with it afterwards.

    Satisfies `interface.Engine` for those queries, asked in the same words; it has no sites.
    """

    def __init__(
        self,
        description: ModelDescription,
        scores: Sequence[tuple[Query, LabelScores]],
        texts: Sequence[tuple[Query, Generation]],
    ) -> None:
        self.description = description
        self._scores = {_key(query): result for query, result in scores}
        self._texts = {_key(query): result for query, result in texts}

    @property
    def sites(self) -> tuple[Site, ...]:
        """Nothing: features are not kept."""
        return ()

    def score(self, queries: Sequence[Query], *, observe: bool = False) -> Observation:
        """Return the scores that were given; see `Engine.score`."""
        return Observation(tuple(self._recorded(self._scores, query) for query in queries))

    def generate(self, queries: Sequence[Query], *, max_new_tokens: int) -> tuple[Generation, ...]:
        """Return the texts that were written, with the limit that held then."""
        return tuple(self._recorded(self._texts, query) for query in queries)

    def close(self) -> None:
        """Do nothing: no model is held."""

    def _recorded(self, results: dict[tuple[str, ...], Result], query: Query) -> Result:
        try:
            return results[_key(query)]
        except KeyError as error:
            raise ModelError(
                f"{self.description.name}: no answer to query {query.id!r} was recorded"
            ) from error


def recorded_answers(
    engine: Engine, queries: Sequence[Query], *, max_new_tokens: int = NEW_TOKENS
) -> RecordedAnswers:
    """Put queries to an engine now, for a comparison by `measure_parity` once it is closed."""
    texts: tuple[Generation, ...] = ()
    if engine.description.abilities.generation:
        texts = engine.generate(queries, max_new_tokens=max_new_tokens)
    return RecordedAnswers(
        engine.description,
        list(zip(queries, engine.score(queries).scores, strict=True)),
        list(zip(queries, texts, strict=False)),
    )


def _key(query: Query) -> tuple[str, ...]:
    return (query.id, query.prompt, *query.labels)
