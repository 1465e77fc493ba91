"""What a card's tiny model does, held against plain use of the library."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import load_engine
from model_adapters.engines.transformers.processors import load_processor
from model_adapters.interface import ModelError, Query
from tests.model_adapters.cards.tiny_cards import TinyModel, at_tiny_scale
from tests.model_adapters.tiny.plain import PlainModel, picture, plain_model

TOLERANCE = 1e-3  # nats; a label's log-likelihood is a sum over tokens of a deep model in single precision
LABELS = ("normal", "benign", "malignant")
QUESTIONS = tuple(
    Query(f"{i}", picture(*size, seed=i), f"Question {i}: normal, benign or malignant?", LABELS)
    for i, size in enumerate([(48, 32), (32, 56), (40, 40)])
)

# The label whose score is worked out plainly: another one for each question, since every pass takes its time.
OWN_LABEL = {question.id: label for question, label in zip(QUESTIONS, LABELS, strict=True)}


@dataclass(frozen=True)
class Measured:
    """What was seen; each part is None where all is well, else what is wrong."""

    loads: str | None
    sites: str | None
    image_tokens: str | None
    scores: str | None

    @property
    def problems(self) -> tuple[str, ...]:
        """Return everything that is wrong."""
        return tuple(found for found in (self.loads, self.sites, self.image_tokens, self.scores) if found)


def measure(card: ModelCard, tiny: TinyModel, folder: Path) -> Measured:
    """Load a card's tiny model by the card itself, and ask it."""
    own = at_tiny_scale(card, folder)
    try:
        engine = load_engine(own, device="cpu", trust_remote_code=card.trust_remote_code)
    except ModelError as error:
        return Measured(str(error), *["not loaded"] * 3)
    truths = truths_of(folder, tiny.builder, tuple(sorted(card.processor.items())))
    try:
        return Measured(
            loads=wrong_loading(own, engine),
            sites=wrong_sites(card, engine),
            image_tokens=wrong_image_tokens(engine, truths),
            scores=wrong_scores(card, engine, truths),
        )
    finally:
        engine.close()


# What of a card its tiny model is loaded and asked by.
_ASKED_BY = {
    *("architecture", "prompt", "processor", "generation", "attn_implementation", "quantisation"),
    *("anatomy", "unverified", "trust_remote_code", "headline", "max_new_tokens"),
}


def asked_alike(card: ModelCard, tiny: TinyModel) -> tuple[TinyModel, str]:
    """Return what two cards have in common whose tiny models are one and are loaded and asked by equal settings."""
    return tiny, card.model_dump_json(include=_ASKED_BY)


@dataclass(frozen=True)
class Truth:
    """What plain use of the library gives for one question."""

    image_tokens: int  # embeddings that the vision half makes of the picture
    score: float  # log-likelihood of the question's own label, from one forward pass
    logits: torch.Tensor  # (vocabulary,) after the prompt
    prompt: torch.Tensor  # the prompt's token ids
    tokenizer: Any


@cache
def truths_of(folder: Path, builder: str, processor: tuple[tuple[str, Any], ...]) -> tuple[Truth, ...]:
    """Return the truth about every question; `processor` are the card's limits on the picture's size.

    Cards that share weights and limits share it.
    """
    plain = copy.copy(plain_model(folder, builder))
    if processor:
        plain.processor = load_processor(str(folder), plain.model.config, builder, **dict(processor))
    return tuple(_truth(plain, question) for question in QUESTIONS)


def _truth(plain: PlainModel, question: Query) -> Truth:
    inputs = plain.inputs(question)
    with torch.no_grad():
        logits = plain.model(**inputs, use_cache=False).logits[0, -1].float()
    return Truth(
        image_tokens=plain.image_tokens(question),
        score=plain.label_score(question, OWN_LABEL[question.id])[0],
        logits=logits,
        prompt=inputs["input_ids"][0],
        tokenizer=plain.processor.tokenizer,
    )


def wrong_loading(card: ModelCard, engine: Any) -> str | None:
    """Compare class, remarks and the rendered question with the card."""
    if engine.description.architecture != card.architecture:
        return f"loads as {engine.description.architecture}"
    if engine.description.remarks:
        return engine.description.remarks[0]
    text = engine.rendered(QUESTIONS[0])
    if QUESTIONS[0].prompt not in text or not text.endswith(card.prompt.answer_prefix):
        return f"the question is rendered as {text!r}"
    if card.prompt.system is not None and card.prompt.system not in text:
        return f"the system turn is missing in {text!r}"
    return None


def wrong_sites(card: ModelCard, engine: Any) -> str | None:
    """Count the sites of each kind, and look which vision block the connector reads.

    Where the connector merges neighbouring patches, the block that it reads has a second site.
    """
    blocks, layers = card.anatomy.vision_blocks, card.anatomy.llm_blocks
    expected = {"vision mean": blocks, "connector mean": 1, "llm mean": layers, "llm last": layers}
    found = Counter(f"{site.module} {site.pool}" for site in engine.sites if site.pool != "regrouped")
    if found != expected:
        return f"found {dict(found)} instead of {expected}"
    consumed = {site.layer for site in engine.sites if site.consumed}
    merged = {(site.module, site.layer) for site in engine.sites if site.pool == "regrouped"}
    if consumed != {card.anatomy.consumed_layer} or not merged <= {("vision", card.anatomy.consumed_layer)}:
        return f"the connector reads vision block {consumed}, not {card.anatomy.consumed_layer}"
    observed = engine.score(QUESTIONS[:2], observe=True)
    for site in engine.sites:
        block = observed.features[site.key]
        if block.shape != (2, site.width) or not np.isfinite(block).all():
            return f"the features of {site.key} are not finite, or of shape {block.shape}"
    return None


def wrong_image_tokens(engine: Any, truths: Sequence[Truth]) -> str | None:
    """Count an image's tokens in the prompt, and the embeddings that the vision half makes of it."""
    counted, made = engine.image_tokens(QUESTIONS), tuple(truth.image_tokens for truth in truths)
    return None if counted == made else f"{counted} image tokens in the prompts, {made} embeddings"


def wrong_scores(card: ModelCard, engine: Any, truths: Sequence[Truth]) -> str | None:
    """Compare label scores with plain forward passes, and what is written with the likeliest token.

    Where that token can be written as a label, it must have the highest score of a question's labels.
    """
    scored, penalty = engine.score(QUESTIONS).scores, card.generation.repetition_penalty
    for question, scores, truth in zip(QUESTIONS, scored, truths, strict=True):
        label = OWN_LABEL[question.id]
        if scores.error or abs(scores.raw[LABELS.index(label)] - truth.score) > TOLERANCE:
            return (
                f"scores {scores.raw or scores.error}, a plain forward pass gives {truth.score} for {label!r}"
            )
    written = engine.generate(QUESTIONS, max_new_tokens=1)
    for question, generation, truth in zip(QUESTIONS, written, truths, strict=True):
        token = likeliest_token(truth, penalty)
        text = truth.tokenizer.decode([token], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        if generation.error or generation.text != text:
            return f"wrote {generation.error or generation.text!r}, the likeliest token is {text!r}"
        if penalty == 1.0 and (problem := wrong_best(engine, question, token, text)):
            return problem
    return None


def likeliest_token(truth: Truth, penalty: float) -> int:
    """Return what is written first: the largest logit, after the penalty on tokens that the prompt has."""
    logits, seen = truth.logits.clone(), truth.prompt.unique()
    logits[seen] = torch.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)
    return int(logits.argmax())


def wrong_best(engine: Any, question: Query, token: int, text: str) -> str | None:
    """Score the text that was written first as one label among others, where it can be one."""
    others = tuple(label for label in ("normal", "benign", "A", "B", "?", "7") if label != text)
    asked = Query(question.id, question.image, question.prompt, (text, *others))
    try:
        if engine.tokens_of_labels(asked)[0] != (token,):
            return None
    except ModelError:  # a part of a letter, or white space
        return None
    scores = engine.score([asked]).scores[0]
    best = asked.labels[int(np.argmax(scores.raw))]
    return None if best == text else f"writes {text!r}, but {best!r} has the highest score"
