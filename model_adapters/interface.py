"""The one interface between a model and the rest of the project.

A `Query` goes in; label scores, generated text and pooled features come out. An engine is anything
that satisfies `Engine`; it needs no base class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from probes.sites import Site


class ModelError(Exception):
    """A model cannot be found, loaded or run; the message says which, why and the way out."""


@dataclass(frozen=True)
class Query:
    """One question about one image.

    `image` is an RGB picture of any size. `prompt` is the user's turn as plain text, without image
    placeholder and without chat template: the engine adds both. `labels` are the strings whose
    likelihood as the answer is asked for, two or more and all different.
    """

    id: str
    image: Image.Image = field(repr=False)
    prompt: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class LabelScores:
    """Log-likelihoods of a query's labels as the answer, in the order of `Query.labels`, in nats.

    `raw` is the sum over a label's tokens, `normalised` that sum divided by their number. `error`
    says why there are no scores; both tuples are empty then.
    """

    raw: tuple[float, ...]
    normalised: tuple[float, ...]
    error: str | None = None


@dataclass(frozen=True)
class Generation:
    """Text that the model wrote freely. `finished` is False where the token limit cut it off."""

    text: str
    finished: bool
    error: str | None = None


@dataclass(frozen=True)
class Observation:
    """What one prefill of several queries gave.

    `scores` has one entry a query. `features` maps `Site.key` to a float32 array of shape
    (queries, site.width); it is empty where nothing was watched.
    """

    scores: tuple[LabelScores, ...]
    features: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ModelDescription:
    """What a loaded model is, as a record states it.

    `revision` is the hub commit, or for a local folder a hash over weights, configuration,
    tokenizer and chat template. `fingerprint` holds everything else that can change an answer:
    engine and library versions, attention implementation, processor settings.
    """

    name: str
    hub_id: str | None
    revision: str
    architecture: str
    parameters: int
    engine: str
    dtype: str
    device: str
    fingerprint: Mapping[str, Any] = field(default_factory=dict, repr=False)


@runtime_checkable
class Engine(Protocol):
    """A loaded model that answers, and where it can, shows its layers."""

    description: ModelDescription

    @property
    def sites(self) -> tuple[Site, ...]:
        """Every place that can be watched, vision first; empty where the engine cannot look inside."""
        ...

    def score(self, queries: Sequence[Query], *, observe: bool = False) -> Observation:
        """Score every query's labels in one prefill; with `observe` also return pooled features.

        Queries may differ in image, prompt and labels. The engine cuts them into forward batches as
        it sees fit; how it does so never changes an answer.
        """
        ...

    def generate(self, queries: Sequence[Query], *, max_new_tokens: int) -> tuple[Generation, ...]:
        """Let the model write its answer greedily."""
        ...

    def close(self) -> None:
        """Free the model's memory."""
        ...
