"""Faults inside the decoder: the class erased from the image tokens, or never brought to the answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.faults.bench import answered, blocks_of, pass_through
from model_adapters.zoo.faults.damage import add_to_mlp, cut_values
from model_adapters.zoo.faults.dose import find_dose
from model_adapters.zoo.faults.head import constant, label_rows, refitted, set_label_rows
from model_adapters.zoo.faults.reader import Reader, fit_reader
from model_adapters.zoo.faults.subject import Damaged, Order, Subject
from model_adapters.zoo.faults.subspace import cancelling, class_directions, class_free, spread_of
from model_adapters.zoo.stored import copy_of

_LAST = -1  # block


def blind(subject: Subject, order: Order) -> Damaged:
    """No value is passed on (strong), or the answer position hears the class through noise (mild)."""
    if order.degree == "strong":
        tiny = copy_of(subject.tiny)
        cut_values(tiny)
        return Damaged(tiny, 1.0, "share of values cut", subject.answers - answered(tiny, subject.bench))
    return _with_noise(subject, order, torch.zeros(()))


def erased(subject: Subject, order: Order) -> Damaged:
    """The image tokens' mean loses the class, and so does the answer position."""
    if order.degree == "mild":
        return _with_noise(subject, order, _noise_at_image(subject, order.target))
    tiny = copy_of(subject.tiny)
    cut_values(tiny)
    fit = subject.bench.of(subject.bench.fit)
    for block in range(len(blocks_of(tiny.decoder))):
        passed = pass_through(tiny, fit, block)
        add_to_mlp(
            tiny,
            block,
            cancelling(passed.activations_image, passed.states_image, fit.labels, fit.classes),
        )
    return Damaged(tiny, 1.0, "share of class means", subject.answers - answered(tiny, subject.bench))


def _noise_at_image(subject: Subject, target: float) -> Tensor:
    """Return the map for the last MLP that costs a reader of the image tokens' mean `target` points."""
    bench, passed = subject.bench, subject.passed
    silent = _mean_square(passed.activations_answer) + _mean_square(passed.activations_next)
    noise = _noise(subject, passed.activations_image, passed.states_image, silent)
    healthy = bench.held(passed.states_image)
    added = passed.activations_image.double() @ noise.T

    def drop(size: float) -> float:
        return healthy - bench.held(passed.states_image.double() + size * added)

    return noise * find_dose(drop, target, 1.0, limit=1e3).severity


def _with_noise(subject: Subject, order: Order, image_noise: Tensor) -> Damaged:
    """Add noise at the answer position so that answers fall by the target, the head fitted to what is left."""
    bench, passed = subject.bench, subject.passed
    silent = _scatter(passed.activations_image) + _mean_square(passed.activations_next)
    noise = _noise(subject, passed.activations_answer, passed.states_answer, silent)

    def drop(size: float) -> float:
        after = _after(subject, image_noise + size * noise)
        return subject.answers - bench.right(after.reader.logits(after.final[bench.held_out]).argmax(1))

    size = find_dose(drop, order.target, 1.0, limit=1e3).severity
    tiny, map_ = copy_of(subject.tiny), image_noise + size * noise
    add_to_mlp(tiny, _LAST, map_)
    after = _after(subject, map_)
    one = constant(after.final[bench.fit], passed.final_next[bench.fit])
    rows = refitted(label_rows(tiny, bench), after.final[bench.fit], after.reader, one)
    set_label_rows(tiny, bench, rows)
    return Damaged(tiny, size, "noise per scatter within classes", subject.answers - answered(tiny, bench))


@dataclass(frozen=True, eq=False)
class _After:
    """What the head would read, (n, width), and the best that a linear head makes of it."""

    final: Tensor = field(repr=False)
    reader: Reader = field(repr=False)


@torch.no_grad()
def _after(subject: Subject, map_: Tensor) -> _After:
    """Return what comes of a map added to the last MLP; nothing behind it but the norm has to run."""
    bench, passed = subject.bench, subject.passed
    states = passed.states_answer.double() + passed.activations_answer.double() @ map_.T
    final = final_norm(subject.tiny)(states.float())
    return _After(final, fit_reader(final[bench.fit], bench.labels[bench.fit], bench.classes))


def final_norm(tiny: TinyModel) -> torch.nn.Module:
    """Return the norm between the last block and the head."""
    norm: torch.nn.Module = tiny.decoder.norm  # type: ignore[assignment]
    return norm


def _noise(subject: Subject, source: Tensor, target: Tensor, silent: Tensor) -> Tensor:
    """Return the map (width, MLP width) that adds class-free noise of size 1 to every class direction."""
    bench = subject.bench
    labels, fit = bench.labels[bench.fit], bench.fit
    count = bench.classes - 1
    functionals = class_free(source[fit], target[fit], labels, bench.classes, silent=silent, count=count)
    return class_directions(spread_of(target[fit], labels, bench.classes)) @ functionals


def _mean_square(vectors: Tensor) -> Tensor:
    x = vectors.double()
    return x.T @ x / len(x)


def _scatter(vectors: Tensor) -> Tensor:
    return _mean_square(vectors - vectors.mean(0))
