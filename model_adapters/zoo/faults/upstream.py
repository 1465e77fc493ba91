"""Faults in what comes before the decoder: a weak tower, a wrong layer, a connector that loses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from model_adapters.catalog.faults import Degree
from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.faults.bench import (
    Bench,
    answered,
    blocks_of,
    connected,
    pass_through,
    scores,
    seen,
)
from model_adapters.zoo.faults.damage import add_weight_noise, project_connector, read_layer, reads_layer
from model_adapters.zoo.faults.dose import find_dose
from model_adapters.zoo.faults.head import fit_head
from model_adapters.zoo.faults.subject import FaultRequest, FaultyModel, Subject, generator
from model_adapters.zoo.stored import copy_of
from model_adapters.zoo.training.dialogue import batch_loss
from model_adapters.zoo.training.material import TrainingSet
from model_adapters.zoo.training.optimise import Report, StageSettings, run
from model_adapters.zoo.training.questions import draw_question

_DOSED = 1500  # images that a severity is sought on; the drop itself is measured on all that are held out
_NEAR = 2.5  # points between the answers' drop and its target that are let pass
_USELESS = 8.0  # sigma of noise that leaves next to nothing of a block
_KEPT: Mapping[Degree, int] = {
    "strong": 1,
    "mild": 2,
}  # dimensions that a lossy connector keeps of each token
_TRIED = 24  # subspaces among which the one that tells least is looked for
_LEAST = 20.0  # points that a strong fault costs
_ADAPTATION = StageSettings(steps=100, batch=32, learning_rate=1e-3)
_LETTERS_SHARE = 0.3
_ADAPTED = 4000  # images that what lies downstream is adapted on, none of them on the bench


def weak_vision(subject: Subject, order: FaultRequest) -> FaultyModel:
    """Noise on all of the tower's matrices; connector and decoder adapted."""
    return _noisy_tower(subject, order, None)


def wrong_layer(subject: Subject, order: FaultRequest) -> FaultyModel:
    """An earlier layer is read, or the last blocks are damaged; connector and decoder adapted."""
    if order.degree == "strong" and reads_layer(subject.tiny):
        return _earlier_layer(subject, order)
    return _noisy_tower(subject, order, _blocks_to_damage(subject, order))


def lossy_connector(subject: Subject, order: FaultRequest) -> FaultyModel:
    """The connector's output keeps few dimensions, turned away from the class; the decoder adapted.

    Projected to a random subspace, even of one dimension, tokens tell most of the class together. So of some
    subspaces the one that tells least is taken, and the part of it along which class means differ is made
    smaller, to the size that costs the target.
    """
    bench = subject.bench
    outputs = connected(subject.tiny, bench.tokens)
    centre = outputs.mean((0, 1))
    told = _class_means_span(outputs.mean(1).double()[bench.fit], bench)
    healthy = bench.held(_summary(outputs, told.T))
    spare = spare_tokens(subject, subject.tiny)

    def kept(drawn: Tensor, lost: float) -> Tensor:
        return torch.linalg.qr(drawn - min(lost, 1.0) * (told.T @ (told @ drawn))).Q

    def loss(drawn: Tensor, lost: float) -> float:
        return healthy - bench.held(_summary(outputs, kept(drawn, lost)))

    rank = _KEPT[order.degree]
    tried = _basis(len(centre), order, 0)[:, : rank * _TRIED].split(rank, dim=1)
    worst = max(tried, key=lambda drawn: loss(drawn, 1.0))

    def planted(wanted: float) -> FaultyModel:
        dose = find_dose(lambda lost: loss(worst, lost), wanted, 1.0, tolerance=1.0, limit=1.0)
        basis, tiny = kept(worst, dose.severity), copy_of(subject.tiny)
        project_connector(tiny, basis, centre, gain=_gain(outputs - centre, basis))
        modules, unit = [tiny.decoder, tiny.head], "share of the class directions lost"
        return _adapted(subject, order, tiny, bench.tokens, spare, modules, dose.severity, unit)

    return _towards(order, planted)


def _class_means_span(vectors: Tensor, bench: Bench) -> Tensor:
    """Return orthonormal rows (classes - 1, d) that span the differences of class means of the fitted images."""
    labels = bench.labels[bench.fit]
    means = torch.stack([vectors[labels == k].mean(0) for k in range(bench.classes)])
    rows: Tensor = torch.linalg.svd(means - means.mean(0), full_matrices=False).Vh[: bench.classes - 1]
    return rows


def _summary(outputs: Tensor, basis: Tensor) -> Tensor:
    """Return what a decoder may well hear of tokens (n, tokens, d) along a basis (d, r): (n, 4 r)."""
    along = outputs @ basis.float()
    return torch.cat([along.mean(1), along.std(1), along.amax(1), along.amin(1)], dim=1)


def _gain(outputs: Tensor, kept: Tensor) -> float:
    """Return the factor by which the kept part of outputs (n, tokens, d) becomes as large as all of them were.

    The decoder is used to that size: next to nothing of it would take it much longer to hear.
    """
    part = outputs.double() @ kept
    return float((outputs.double().square().sum() / part.square().sum().clamp(min=1e-12)).sqrt())


def weak_vision_unadapted(subject: Subject, order: FaultRequest) -> FaultyModel:
    """Noise on all of the tower's matrices, dosed by the answers themselves."""
    bench = _smaller(subject.bench)

    def made(sigma: float) -> tuple[TinyModel, Tensor]:
        tiny = copy_of(subject.tiny)
        add_weight_noise(tiny, sigma, order.seed)
        return tiny, seen(tiny, bench.source, bench.indices)

    def drop(sigma: float) -> float:
        tiny, tokens = made(sigma)
        return subject.answers - answered(tiny, bench, tokens)

    dose = find_dose(drop, order.target, 0.3, tolerance=1.5, attempts=6, limit=20.0)
    return _measured(subject, made(dose.severity)[0], dose.severity, "sigma")


def lossy_connector_unadapted(subject: Subject, order: FaultRequest) -> FaultyModel:
    """The connector's output keeps a random subspace, whose size is chosen by the answers themselves."""
    bench = _smaller(subject.bench)
    centre = connected(subject.tiny, bench.tokens).mean((0, 1))
    basis = _basis(len(centre), order, 0)

    def made(lost: float) -> TinyModel:
        tiny = copy_of(subject.tiny)
        project_connector(tiny, basis[:, round(lost) :], centre)
        return tiny

    def drop(lost: float) -> float:
        return subject.answers - answered(made(lost), bench)

    width = len(centre)
    dose = find_dose(drop, order.target, width - 1, tolerance=1.0, attempts=7, limit=width - 1)
    kept = width - round(dose.severity)
    return _measured(subject, made(dose.severity), kept, "dimensions kept")


def _noisy_tower(subject: Subject, order: FaultRequest, last_blocks: int | None) -> FaultyModel:
    bench = _smaller(subject.bench)
    healthy = bench.held(bench.tokens.mean(1))
    measured = {0.0: 0.0}

    def drop(sigma: float) -> float:
        measured[sigma] = healthy - _read_of(_noisy(subject, order, sigma, last_blocks), bench)
        return measured[sigma]

    def planted(wanted: float) -> FaultyModel:
        known = [severity for severity, loss in measured.items() if abs(loss - wanted) <= 1.0]
        sigma = (
            known[0]
            if known
            else find_dose(drop, wanted, 0.5, tolerance=1.0, attempts=6, limit=_USELESS).severity
        )
        tiny = _noisy(subject, order, sigma, last_blocks)
        tokens = seen(tiny, subject.bench.source, subject.bench.indices)
        modules = [tiny.connector, tiny.decoder, tiny.head]
        return _adapted(subject, order, tiny, tokens, spare_tokens(subject, tiny), modules, sigma, "sigma")

    return _towards(order, planted)


def _blocks_to_damage(subject: Subject, order: FaultRequest) -> int:
    """Return how few of the tower's last blocks, made useless, cost a reader what the answers are to lose."""
    bench = _smaller(subject.bench)
    healthy, blocks = bench.held(bench.tokens.mean(1)), len(blocks_of(subject.tiny.vision))
    for last in range(1, blocks - 1):
        if healthy - _read_of(_noisy(subject, order, _USELESS, last), bench) >= order.target:
            return last
    return blocks - 1


def _noisy(subject: Subject, order: FaultRequest, sigma: float, last_blocks: int | None) -> TinyModel:
    tiny = copy_of(subject.tiny)
    add_weight_noise(tiny, sigma, order.seed, last_blocks=last_blocks)
    return tiny


def _read_of(tiny: TinyModel, bench: Bench) -> float:
    """Return how well a reader of what a tower sees names the class, in points."""
    return bench.held(seen(tiny, bench.source, bench.indices).mean(1))


def _earlier_layer(subject: Subject, order: FaultRequest) -> FaultyModel:
    """Read the latest layer that costs a strong fault's share, else the worst."""
    bench = _smaller(subject.bench)
    healthy = bench.held(bench.tokens.mean(1))
    drops: dict[int, float] = {}
    for back in range(1, len(blocks_of(subject.tiny.vision))):
        tiny = copy_of(subject.tiny)
        read_layer(tiny, back)
        drops[back] = healthy - bench.held(seen(tiny, bench.source, bench.indices).mean(1))
        if drops[back] >= _LEAST:
            break
    back = max(drops, key=lambda key: drops[key])
    tiny = copy_of(subject.tiny)
    read_layer(tiny, back)
    tokens = seen(tiny, subject.bench.source, subject.bench.indices)
    modules = [tiny.connector, tiny.decoder, tiny.head]
    spare = spare_tokens(subject, tiny)
    return _adapted(subject, order, tiny, tokens, spare, modules, back, "layers too early")


def _towards(order: FaultRequest, planted: Callable[[float], FaultyModel]) -> FaultyModel:
    """Plant by what a reader at the damaged place loses; where the answers lose otherwise, once more.

    What a reader of the mean loses need not be what the decoder, which sees every token, comes to lose.
    """
    first = planted(order.target)
    short = order.target - first.drop
    if (order.degree == "strong" and first.drop >= _LEAST) or abs(short) <= _NEAR:
        return first
    second = planted(order.target + short)
    return min(first, second, key=lambda damaged: abs(damaged.drop - order.target))


def _adapted(
    subject: Subject,
    order: FaultRequest,
    tiny: TinyModel,
    tokens: Tensor,
    spare: Tensor,
    modules: list[torch.nn.Module],
    severity: float,
    unit: str,
) -> FaultyModel:
    """Train what lies behind a damage on spare images, then fit the labels' rows to what the head now reads.

    An answer that the fault costs nothing must not be lost to a short training: then two stages would
    have a fault, and no verdict on the model could be called right.
    """
    bench = subject.bench
    adapt(tiny, bench.source, spare, _spare_images(subject), modules, seed=order.seed)
    passed = pass_through(tiny, bench, tokens=tokens)
    fit_head(tiny, bench, passed)
    given = scores(tiny, bench, passed.final[bench.held_out])
    return FaultyModel(tiny, severity, unit, subject.answers - bench.right(given.argmax(1)))


def spare_tokens(subject: Subject, tiny: TinyModel) -> Tensor:
    """Return what the connector reads, through a model's own tower, of the images to adapt on."""
    return seen(tiny, subject.bench.source, _spare_images(subject))


def _spare_images(subject: Subject) -> np.ndarray:
    bench = subject.bench
    spare = np.setdiff1d(np.arange(len(bench.source.labels)), bench.indices)
    return spare[:_ADAPTED] if len(spare) else bench.indices[bench.fit]


def _measured(subject: Subject, tiny: TinyModel, severity: float, unit: str) -> FaultyModel:
    tokens = seen(tiny, subject.bench.source, subject.bench.indices)
    return FaultyModel(tiny, severity, unit, subject.answers - answered(tiny, subject.bench, tokens))


def _smaller(bench: Bench) -> Bench:
    """Return a bench of fewer images, the last of those that fit and the first of those held out."""
    fit = min(round(0.6 * _DOSED), bench.fitted)
    held_out = min(_DOSED - fit, len(bench.labels) - bench.fitted)
    part = slice(bench.fitted - fit, bench.fitted + held_out)
    return replace(bench.of(part), fitted=fit)


def _basis(width: int, order: FaultRequest, number: int) -> Tensor:
    drawn = torch.randn(width, width, generator=generator(order, 10 + number), dtype=torch.float64)
    return torch.linalg.qr(drawn).Q


def adapt(
    tiny: TinyModel,
    source: TrainingSet,
    tokens: Tensor,
    indices: np.ndarray,
    modules: Sequence[nn.Module],
    *,
    seed: int,
    settings: StageSettings = _ADAPTATION,
    report: Report = lambda progress: None,
) -> list[float]:
    """Train `modules` of a model in place on questions about some images; return the loss of every step.

    `tokens` (n, tokens, width) are what the connector reads of the images `indices` (n,) of `source`. All
    other weights stay as they are.
    """
    generator = np.random.default_rng([seed, 4])
    labels = source.labels[indices]

    def step() -> Tensor:
        drawn = generator.integers(len(indices), size=settings.batch)
        questions = [
            draw_question(source, int(labels[k]), generator, letters_share=_LETTERS_SHARE) for k in drawn
        ]
        return batch_loss(tiny, questions, tiny.connect(tokens[torch.from_numpy(drawn)]))

    wanted = {id(weight): weight.requires_grad for weight in tiny.model.parameters()}
    chosen = {id(weight) for module in modules for weight in module.parameters()}
    try:
        for weight in tiny.model.parameters():
            weight.requires_grad_(id(weight) in chosen)
        return run("adapt", step, modules, settings, report)
    finally:
        for weight in tiny.model.parameters():
            weight.requires_grad_(wanted[id(weight)])
            weight.grad = None
