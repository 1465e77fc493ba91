"""Faults inside the decoder: the class erased from the image tokens, or never brought to the answer."""

from __future__ import annotations

import torch
from torch import Tensor

from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.faults.bench import answered, blocks_of, pass_through
from model_adapters.zoo.faults.damage import add_to_mlp, added_by_mlp, cut_values, norm_behind_mlp
from model_adapters.zoo.faults.dose import find_dose
from model_adapters.zoo.faults.head import constant, label_rows, refitted, set_label_rows
from model_adapters.zoo.faults.linear_probe import fit_linear_probe
from model_adapters.zoo.faults.subject import FaultRequest, FaultyModel, Subject
from model_adapters.zoo.faults.subspace import cancelling, class_directions, class_free, spread_of
from model_adapters.zoo.stored import copy_of

_LAST = -1  # block
_ROUNDS = 4  # of cancelling, where a norm lets a linear map do it only nearly


def blind(subject: Subject, order: FaultRequest) -> FaultyModel:
    """No value is passed on (strong), or the answer position hears the class through noise (mild)."""
    if order.degree == "strong":
        tiny = copy_of(subject.tiny)
        cut_values(tiny)
        return FaultyModel(tiny, 1.0, "share of values cut", subject.answers - answered(tiny, subject.bench))
    return _with_noise(subject, order, torch.zeros(()))


def erased(subject: Subject, order: FaultRequest) -> FaultyModel:
    """The image tokens' mean loses the class, and so does the answer position."""
    if order.degree == "mild":
        return _with_noise(subject, order, _noise_at_image(subject, order.target))
    tiny = copy_of(subject.tiny)
    cut_values(tiny)
    fit = subject.bench.of(subject.bench.fit)
    for block, layer in enumerate(blocks_of(tiny.decoder)):
        for _ in range(1 if norm_behind_mlp(layer) is None else _ROUNDS):
            passed = pass_through(tiny, fit, block)
            source, target = passed.activations_image, passed.states_image
            add_to_mlp(tiny, block, cancelling(source, target, fit.labels, fit.classes), source)
    return FaultyModel(tiny, 1.0, "share of class means", subject.answers - answered(tiny, subject.bench))


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


def _with_noise(subject: Subject, order: FaultRequest, image_noise: Tensor) -> FaultyModel:
    """Add noise at the answer position so that answers fall by the target, the head fitted to what is left."""
    bench, passed = subject.bench, subject.passed
    silent = _scatter(passed.activations_image) + _mean_square(passed.activations_next)
    noise = _noise(subject, passed.activations_answer, passed.states_answer, silent)

    def damaged(size: float) -> TinyModel:
        tiny = copy_of(subject.tiny)
        add_to_mlp(tiny, _LAST, image_noise + size * noise, passed.activations_answer)
        return tiny

    def headed(tiny: TinyModel) -> tuple[Tensor, Tensor]:
        """Return what the head would read, and the labels' rows fitted to it."""
        final = _final(subject, tiny)
        reader = fit_linear_probe(final[bench.fit], bench.labels[bench.fit], bench.classes)
        one = constant(final[bench.fit], passed.final_next[bench.fit])
        return final, refitted(label_rows(subject.tiny, bench), final[bench.fit], reader, one)

    def drop(size: float) -> float:
        final, rows = headed(damaged(size))
        return subject.answers - bench.right((final[bench.held_out].double() @ rows.T).argmax(1))

    size = find_dose(drop, order.target, 1.0, limit=1e3).severity
    tiny = damaged(size)
    set_label_rows(tiny, bench, headed(tiny)[1])
    return FaultyModel(
        tiny, size, "noise per scatter within classes", subject.answers - answered(tiny, bench)
    )


@torch.no_grad()
def _final(subject: Subject, tiny: TinyModel) -> Tensor:
    """Return what the head reads where only the last MLP was changed; nothing but that and the norm has to run."""
    passed = subject.passed
    before, after = (
        added_by_mlp(blocks_of(one.decoder)[_LAST], passed.activations_answer) for one in (subject.tiny, tiny)
    )
    final: Tensor = final_norm(tiny)((passed.states_answer - before + after).float())
    return final


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
