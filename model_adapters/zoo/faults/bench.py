"""Images with their tokens and one question: where faults are dosed, apart from any task's images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.faults.linear_probe import fit_linear_probe, points
from model_adapters.zoo.training import dialogue
from model_adapters.zoo.training.material import TrainingSet
from model_adapters.zoo.training.questions import QuestionAnswer

_BATCH = 50


@dataclass(frozen=True, eq=False)
class Bench:
    """What is measured on. The first `fitted` images fit readers, the rest (held out) are answered.

    `indices` (n,) are the images in `source`; `labels` (n,) their classes; `tokens` (n, tokens, width) what
    the connector reads of them; `label_tokens` (classes,) the first token of each label.
    """

    source: TrainingSet
    indices: np.ndarray = field(repr=False)
    labels: Tensor = field(repr=False)
    tokens: Tensor = field(repr=False)
    label_tokens: Tensor
    question: str
    fitted: int

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.source.wordings)

    @property
    def fit(self) -> slice:
        """The images that readers are fitted on."""
        return slice(self.fitted)

    @property
    def held_out(self) -> slice:
        """The images that accuracies are measured on."""
        return slice(self.fitted, None)

    def of(self, part: slice) -> Bench:
        """Return the same bench with some of its images, all of them held out."""
        return replace(
            self, indices=self.indices[part], labels=self.labels[part], tokens=self.tokens[part], fitted=0
        )

    def held(self, vectors: Tensor) -> float:
        """Return how well a linear reader of `vectors` (n, width) names the class, in points."""
        reader = fit_linear_probe(vectors[self.fit], self.labels[self.fit], self.classes)
        return self.right(reader.logits(vectors[self.held_out]).argmax(1))

    def right(self, predicted: Tensor) -> float:
        """Return the balanced accuracy, in points, of what was predicted for the images held out."""
        return points(predicted, self.labels[self.held_out], self.classes)


def make_bench(
    tiny: TinyModel, source: TrainingSet, *, seed: int = 0, fit: int = 1500, held_out: int = 1000
) -> Bench:
    """Draw images of `source`, every class equally often, and let the model see them.

    The question is the source's first label prompt. Images fewer than asked for are split in the same
    proportion.

    Raises:
        ValueError: two labels begin with the same token, so that one score cannot stand for each.
    """
    generator = np.random.default_rng([seed, 5])
    shuffled = [
        generator.permutation(np.flatnonzero(source.labels == k)) for k in range(len(source.wordings))
    ]
    each = min(-(-(fit + held_out) // len(shuffled)), min(map(len, shuffled)))
    indices = np.stack([of_class[:each] for of_class in shuffled]).T.reshape(-1)
    fitted = round(len(indices) * fit / (fit + held_out))
    tokenizer = tiny.processor.tokenizer
    first = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in source.wordings]
    if len(set(first)) != len(first):
        raise ValueError(f"zoo: two labels of {source.name!r} begin with the same token")
    classes = ", ".join(source.wordings[:-1]) + f" or {source.wordings[-1]}"
    return Bench(
        source=source,
        indices=indices,
        labels=torch.from_numpy(source.labels[indices]).long(),
        tokens=seen(tiny, source, indices),
        label_tokens=torch.tensor(first),
        question=source.label_prompts[0].replace("{classes}", classes),
        fitted=fitted,
    )


@torch.no_grad()
def seen(tiny: TinyModel, source: TrainingSet, indices: np.ndarray) -> Tensor:
    """Return what the connector reads of images, (n, tokens, width)."""
    parts = []
    for start in range(0, len(indices), _BATCH):
        images = source.images[indices[start : start + _BATCH]].astype(np.float32) / 127.5 - 1.0
        images = np.repeat(images[..., None], 3, axis=-1) if images.ndim == 3 else images
        parts.append(tiny.see(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))))
    return torch.cat(parts)


@torch.no_grad()
def connected(tiny: TinyModel, tokens: Tensor) -> Tensor:
    """Return the connector's output for vision tokens, (n, image tokens, width)."""
    return torch.cat([tiny.connect(tokens[k : k + _BATCH]) for k in range(0, len(tokens), _BATCH)])


@dataclass(frozen=True, eq=False)
class Activations:
    """What one pass over a bench left at one decoder block and at the end, one row an image.

    `activations` and `states` are what the block's MLP sends through its last matrix and what the block
    gives on: `_image` the mean over the image's tokens, `_answer` at the last token of the question,
    `_next` where the answer's first token stands. `final` and `final_next` (n, width) are what the head
    reads at the latter two.
    """

    activations_image: Tensor = field(repr=False)
    activations_answer: Tensor = field(repr=False)
    activations_next: Tensor = field(repr=False)
    states_image: Tensor = field(repr=False)
    states_answer: Tensor = field(repr=False)
    final: Tensor = field(repr=False)
    final_next: Tensor = field(repr=False)


@torch.no_grad()
def pass_through(
    tiny: TinyModel, bench: Bench, block: int = -1, *, tokens: Tensor | None = None
) -> Activations:
    """Ask the bench's question about all its images, answers included, and keep what a fault needs.

    `tokens` are what the connector reads, where the vision tower is not the bench's.
    """
    tokens = bench.tokens if tokens is None else tokens
    layer = blocks_of(tiny.decoder)[block]
    kept: dict[str, Tensor] = {}
    hooks = [
        last_matrix(layer).register_forward_pre_hook(lambda _, given: kept.update(a=given[0])),
        layer.register_forward_hook(
            lambda _, __, out: kept.update(h=out[0] if isinstance(out, tuple) else out)
        ),
    ]
    rows: list[tuple[Tensor, ...]] = []
    try:
        for start in range(0, len(tokens), _BATCH):
            part = slice(start, start + _BATCH)
            words = [bench.source.wordings[k] for k in bench.labels[part].tolist()]
            final, image, answer = _ask(tiny, bench.question, tiny.connect(tokens[part]), words)
            a, h = kept["a"], kept["h"]
            rows.append(
                (
                    a[:, image].mean(1),
                    a[:, answer],
                    a[:, answer + 1],
                    h[:, image].mean(1),
                    h[:, answer],
                    final[:, answer],
                    final[:, answer + 1],
                )
            )
    finally:
        for hook in hooks:
            hook.remove()
    return Activations(*(torch.cat(column) for column in zip(*rows, strict=True)))


def scores(tiny: TinyModel, bench: Bench, final: Tensor) -> Tensor:
    """Return the labels' scores (n, classes) from what the head reads."""
    with torch.no_grad():
        found: Tensor = tiny.head(final.float())[:, bench.label_tokens]
        return found


def answered(tiny: TinyModel, bench: Bench, tokens: Tensor | None = None) -> float:
    """Return the balanced accuracy, in points, of the answers to the images held out."""
    part = bench.of(bench.held_out)
    given = None if tokens is None else tokens[bench.held_out]
    final = pass_through(tiny, part, tokens=given).final
    return points(scores(tiny, bench, final).argmax(1), part.labels, bench.classes)


def blocks_of(module: nn.Module) -> nn.ModuleList:
    """Return the repeated blocks of a tower or decoder: its longest list of modules."""
    return max((m for m in module.modules() if isinstance(m, nn.ModuleList)), key=len)


def last_matrix(block: nn.Module) -> nn.Linear:
    """Return the matrix through which a decoder block's MLP writes."""
    (found,) = [m for name, m in block.named_modules() if name.endswith("down_proj")]
    assert isinstance(found, nn.Linear)
    return found


def _ask(tiny: TinyModel, question: str, images: Tensor, words: Sequence[str]) -> tuple[Tensor, slice, int]:
    """Return final states of dialogues with one question, the image's place, and the last place of the question."""
    asked = dialogue.encode(tiny, [QuestionAnswer(question, word) for word in words])
    embeddings = torch.cat([tiny.embed(asked.before), images, tiny.embed(asked.after)], dim=1)
    begin = asked.before.shape[1]
    image = slice(begin, begin + images.shape[1])
    answer = image.stop + int((asked.targets[0] != -100).nonzero()[0])
    return tiny.decode(embeddings, image), image, answer
