"""What answering and watching cost beside the bare forward pass, and other ways of getting an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from subject import BATCH, Subject, batches, draw
from table import Section, number, percent, times
from timing import Laps, interleave

_TOLERANCE = 1e-3  # nats between two ways of computing one score in single precision

BARE, PREPARE, ANSWER, WATCH = "bare", "prepare", "answer", "watch"
PREFILL, EACH_OPTION, GENERATE = "prefill", "each option", "generate"


def watching(subject: Subject, *, images: int, repetitions: int) -> Section:
    """Watch every site, against the same answers unwatched and against the bare forward pass."""
    parts = [(batch, subject.inputs(batch)) for batch in batches(draw(2000, images)[0])]
    ways = {
        BARE: lambda part: _bare_scores(subject, part[1]),
        PREPARE: lambda part: subject.inputs(part[0]),
        ANSWER: lambda part: subject.engine.score(subject.queries(part[0])).scores,
        WATCH: lambda part: subject.engine.score(subject.queries(part[0]), observe=True).scores,
    }
    with torch.inference_mode():
        laps = interleave(ways, parts, repetitions=repetitions)
    scores = {way: _stacked(laps.returned[way]) for way in (BARE, ANSWER, WATCH)}
    _check_same(scores[BARE], scores[ANSWER], "the bare forward pass and the engine")
    _check_same(scores[ANSWER], scores[WATCH], "the engine watched and unwatched")
    sites = len(subject.engine.sites)
    names = {
        BARE: "bare transformers forward, tensors prepared beforehand",
        PREPARE: "preparing the tensors alone, with the model's processor",
        ANSWER: "answering: prepare, forward, score the labels",
        WATCH: f"answering and watching all {sites} sites",
    }
    tokens = parts[0][1]["input_ids"].shape[1]
    overhead = laps.ratio(WATCH, ANSWER)
    beside = laps.ratio(ANSWER, BARE)
    return Section(
        title="Watching every site",
        about=(
            f"{images} images of 64 x 64 pixels in batches of {BATCH}, {tokens} tokens an image and prompt, "
            f"{times(repetitions, 'repetition')}. All three forward ways gave the same label scores "
            f"(within {_TOLERANCE:g} nats)."
        ),
        header=("", "time, bare forward = 1", "images/s"),
        rows=_rows(laps, names, BARE, images),
        reading=(
            f"Watching every site adds {percent(overhead)} to an answer.",
            f"An answer takes {number(beside)} times the bare forward pass; "
            f"preparing its tensors alone takes {number(laps.ratio(PREPARE, BARE))} times it.",
        ),
        share_of_core=laps.share_of_core,
    )


def options(subject: Subject, *, images: int, repetitions: int) -> Section:
    """One prefill for all labels, against one forward pass a label and against generation."""
    new_tokens = max(len(subject.label_tokens(label)) for label in subject.labels) + 1
    ways = {
        PREFILL: lambda batch: subject.engine.score(subject.queries(batch)).scores,
        EACH_OPTION: lambda batch: [_label_forward(subject, batch, label) for label in subject.labels],
        GENERATE: lambda batch: _generated(subject, batch, new_tokens),
    }
    with torch.inference_mode():
        laps = interleave(ways, batches(draw(2000, images)[0]), repetitions=repetitions)
    one = _stacked(laps.returned[PREFILL])
    each = np.concatenate([np.stack(made, axis=1) for made in laps.returned[EACH_OPTION]])
    _check_same(one, each, "one prefill and one forward pass an option")
    texts = [text for made in laps.returned[GENERATE] for text in made]
    same = float(
        np.mean([text == subject.labels[best] for text, best in zip(texts, one.argmax(1), strict=True)])
    )
    count = len(subject.labels)
    names = {
        PREFILL: f"one prefill, scores of all {count} labels",
        EACH_OPTION: f"{count} forward passes, one a label, plain transformers",
        GENERATE: f"`generate`, at most {new_tokens} tokens, plain transformers",
    }
    return Section(
        title="One prefill against one forward pass an option, and against `generate`",
        about=(
            f"{images} images in batches of {BATCH}, {times(repetitions, 'repetition')}, "
            "preparation included. "
            f"A label has {times(new_tokens - 1, 'token')} at most; `generate` may write one more to end "
            "its turn. The plain loop prepares each prompt with its label anew and computes the logits "
            "of the label's positions alone."
        ),
        header=("", "time, one prefill = 1", "images/s"),
        rows=_rows(laps, names, PREFILL, images),
        reading=(
            f"The scores of the first two are the same (within {_TOLERANCE:g} nats). "
            f"`generate` wrote exactly the label with the highest score on {100 * same:.0f}% of the images.",
        ),
        share_of_core=laps.share_of_core,
    )


def _rows(laps: Laps, names: dict[str, str], unit: str, images: int) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            name,
            "1" if way == unit else number(laps.ratio(way, unit)),
            number(laps.rate(way, images), 0),
        )
        for way, name in names.items()
    )


def _bare_scores(subject: Subject, inputs: dict[str, Any]) -> np.ndarray:
    """Return the log-probability of each label's only token, (images, labels)."""
    logits = subject.model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1]
    first = [subject.label_tokens(label)[0] for label in subject.labels]
    return torch.log_softmax(logits, -1)[:, first].numpy()


def _label_forward(subject: Subject, images: Sequence[Any], label: str) -> np.ndarray:
    """Return the log-likelihood of one label after each image and prompt, (images,)."""
    tokens = torch.tensor(subject.label_tokens(label))
    inputs = subject.inputs(images, label)
    logits = subject.model(**inputs, use_cache=False, logits_to_keep=len(tokens) + 1).logits[:, :-1]
    return torch.log_softmax(logits, -1)[:, torch.arange(len(tokens)), tokens].sum(1).numpy()


def _generated(subject: Subject, images: Sequence[Any], new_tokens: int) -> list[str]:
    inputs = subject.inputs(images)
    written = subject.model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
    new = written[:, inputs["input_ids"].shape[1] :]
    texts = subject.processor.tokenizer.batch_decode(new, skip_special_tokens=True)
    return [text.strip() for text in texts]


def _stacked(parts: Sequence[Any]) -> np.ndarray:
    """Join the parts' label scores to (images, labels)."""
    return np.concatenate(
        [part if isinstance(part, np.ndarray) else [scores.raw for scores in part] for part in parts]
    )


def _check_same(one: np.ndarray, other: np.ndarray, what: str) -> None:
    difference = float(np.abs(one - other).max())
    if not difference <= _TOLERANCE:
        raise RuntimeError(f"{what} differ by {difference:.4f} nats: they do not compute the same thing")
