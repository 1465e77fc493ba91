"""The one interface between a model and the rest of the project.

A `Query` goes in; label scores, generated text and pooled features come out. An engine is anything
that satisfies `Engine`; it needs no base class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from probes.sites import Site


class ModelError(Exception):
    """A model cannot be found, loaded or run; the message says which, why and the way out."""


def one_line(error: BaseException) -> str:
    """Return the reason of an error that a library raised in one line, of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__


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


def require_labels(queries: Sequence[Query]) -> None:
    """Refuse queries whose answer would be no choice.

    Raises:
        ModelError: a query has fewer than two labels.
    """
    for query in queries:
        if len(query.labels) < 2:
            raise ModelError(f"query {query.id!r} has {len(query.labels)} labels; two or more are needed")


@dataclass(frozen=True)
class LoadOptions:
    """How a model is to be loaded, for every engine.

    `dtype` None takes the card's, `batch_size` None or "auto" leaves it to the engine. `model_args` are further
    settings by name, as strings; an engine refuses those that it does not know.
    """

    device: str = "auto"
    dtype: str | None = None
    batch_size: int | str | None = None
    trust_remote_code: bool = False
    offline: bool = False
    model_args: Mapping[str, str] = field(default_factory=dict)


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
class Abilities:
    """What an engine can do beside showing layers, which its `sites` tell.

    Without `label_scores` every `LabelScores` has an error, without `generation` every `Generation`.
    Without `reads_prompts` the picture alone decides, so that paraphrases and option letters mean nothing.
    """

    label_scores: bool = True
    generation: bool = True
    reads_prompts: bool = True


@dataclass(frozen=True)
class ModelDescription:
    """What a loaded model is, as a record states it.

    `revision` is the hub commit, or for a local folder a hash over weights, configuration,
    tokenizer and chat template. `fingerprint` holds everything else that can change an answer:
    engine and library versions, attention implementation, processor settings. `remarks` are sentences
    that a user should read once the model is loaded, such as a card's fact that turned out wrong.
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
    abilities: Abilities = Abilities()
    remarks: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class LabelledImages:
    """Images of one split, read when they are needed: `read(i)` gives the RGB picture of `labels[i]`."""

    labels: np.ndarray = field(repr=False)  # (images,) class indices
    read: Callable[[int], Image.Image] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TrainingImages:
    """What an engine that is trained on a task gets. `key` identifies all of it, for a cache.

    `labels` are the strings that stand for the classes in a `Query`, in the order of the class indices.
    """

    key: str
    labels: tuple[str, ...]
    train: LabelledImages
    validation: LabelledImages


@runtime_checkable
class Trainable(Protocol):
    """An engine that must be trained on a task's own images before it answers about them."""

    def train(
        self, images: TrainingImages, *, seed: int, cache: Path, progress: Callable[[int], None]
    ) -> None:
        """Train, or read back from the folder `cache` what was trained on the same images with the same seed.

        `progress` is told the steps done; there are `training_steps` of them. `description` is final after it.
        """
        ...

    @property
    def training_steps(self) -> int:
        """Return how many steps `train` takes at most."""
        ...


@dataclass(frozen=True)
class Usage:
    """What a server was asked for. `cost` is in `currency`, None without known prices."""

    requests: int
    retries: int
    failures: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    currency: str | None


@runtime_checkable
class Metered(Protocol):
    """An engine that knows what its answers cost."""

    @property
    def usage(self) -> Usage:
        """Return what was used since it was loaded."""
        ...


@dataclass(frozen=True)
class EngineParity:
    """How well a fast engine's answers agree with those of the transformers engine on the same questions.

    `largest_difference` is that of a label's log-likelihood, in nats; `same_text` the share of greedy texts
    that are equal. `detail` says why nothing could be compared; the numbers are None then.
    """

    images: int
    top1_agreement: float | None
    largest_difference: float | None
    same_text: float | None
    detail: str | None = None
