"""Two engines with one model: a fast one answers, one that can look inside watches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from model_adapters.interface import Engine, Generation, ModelDescription, ModelError, Observation, Query
from probes.sites import Site


class AnsweringAndWatching:
    """Scores and texts of `answering`, sites and features of `watching`. Satisfies `interface.Engine`.

    Its description is that of the answering engine, with the fingerprints and remarks of both.
    """

    def __init__(self, answering: Engine, watching: Engine) -> None:
        """Pair two engines that hold the same model.

        Raises:
            ModelError: they hold different ones, by revision or number of parameters.
        """
        one, other = answering.description, watching.description
        if (one.revision, one.parameters) != (other.revision, other.parameters):
            raise ModelError(
                f"{one.name}: {one.engine} holds {one.revision} with {one.parameters} parameters, {other.engine} "
                f"{other.revision} with {other.parameters}; both must be given the same model"
            )
        self.answering, self.watching = answering, watching
        self.description: ModelDescription = replace(
            one,
            fingerprint={"answering": _identified(one), "watching": _identified(other)},
            remarks=tuple(dict.fromkeys((*one.remarks, *other.remarks))),
        )

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """Every place that the watching engine can watch."""
        return self.watching.sites

    def score(self, queries: Sequence[Query], *, observe: bool = False) -> Observation:
        """Score every query's labels by the answering engine; with `observe` the other one's features too."""
        scores = self.answering.score(queries).scores
        if not observe:
            return Observation(scores)
        return Observation(scores, self.watching.score(queries, observe=True).features)

    def generate(self, queries: Sequence[Query], *, max_new_tokens: int) -> tuple[Generation, ...]:
        """Let the answering engine write."""
        return self.answering.generate(queries, max_new_tokens=max_new_tokens)

    def close(self) -> None:
        """Free the memory of both."""
        self.answering.close()
        self.watching.close()


def _identified(description: ModelDescription) -> dict[str, object]:
    return {
        "engine": description.engine,
        "dtype": description.dtype,
        "device": description.device,
        **description.fingerprint,
    }
