"""Faults in what comes before the decoder: a weak tower, a wrong layer, a connector that loses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from model_adapters.zoo.adapt import adapt
from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.faults.bench import Bench, answered, blocks_of, connected, seen
from model_adapters.zoo.faults.damage import add_weight_noise, project_connector, read_layer, reads_layer
from model_adapters.zoo.faults.dose import find_dose
from model_adapters.zoo.faults.subject import Damaged, Order, Subject, generator
from model_adapters.zoo.stored import copy_of

_DOSED = 1500  # images that a severity is sought on; the drop itself is measured on all that are held out
_NEAR = 2.0  # points between the answers' drop and its target that are let pass
_RANKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
_BASES = 3
_LEAST = 20.0  # points that a strong fault costs


def weak_vision(subject: Subject, order: Order) -> Damaged:
    """Noise on all of the tower's matrices; connector and decoder adapted."""
    return _noisy_tower(subject, order, None)


def wrong_layer(subject: Subject, order: Order) -> Damaged:
    """An earlier layer is read, or the last blocks are damaged; connector and decoder adapted."""
    if order.degree == "strong" and reads_layer(subject.tiny):
        return _earlier_layer(subject, order)
    blocks = len(blocks_of(subject.tiny.vision))
    damaged = _noisy_tower(subject, order, 1)
    for last in range(2, blocks):
        if damaged.drop >= 0.7 * order.target:
            break
        damaged = _noisy_tower(subject, order, last)
    return damaged


def lossy_connector(subject: Subject, order: Order) -> Damaged:
    """The connector's output keeps a random subspace; the decoder adapted."""
    bench = subject.bench
    outputs = connected(subject.tiny, bench.tokens)
    pooled, centre = outputs.mean(1), outputs.mean((0, 1))
    healthy = bench.held(pooled)
    bases = [_basis(len(centre), order, number) for number in range(_BASES)]
    drops = {
        (number, rank): healthy - bench.held(pooled.double() @ basis[:, :rank])
        for number, basis in enumerate(bases)
        for rank in _RANKS
    }

    def planted(wanted: float) -> Damaged:
        number, rank = min(drops, key=lambda key: abs(drops[key] - wanted))
        tiny = copy_of(subject.tiny)
        project_connector(tiny, bases[number][:, :rank], centre)
        return _adapted(
            subject, order, tiny, bench.tokens, [tiny.decoder, tiny.head], rank, "dimensions kept"
        )

    return _towards(order, planted)


def weak_vision_unadapted(subject: Subject, order: Order) -> Damaged:
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


def lossy_connector_unadapted(subject: Subject, order: Order) -> Damaged:
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
    dose = find_dose(drop, order.target, width / 2, tolerance=1.0, attempts=7, limit=width - 1)
    kept = width - round(dose.severity)
    return _measured(subject, made(dose.severity), kept, "dimensions kept")


def _noisy_tower(subject: Subject, order: Order, last_blocks: int | None) -> Damaged:
    bench = _smaller(subject.bench)
    healthy = bench.held(bench.tokens.mean(1))
    measured = {0.0: 0.0}

    def noisy(sigma: float) -> TinyModel:
        tiny = copy_of(subject.tiny)
        add_weight_noise(tiny, sigma, order.seed, last_blocks=last_blocks)
        return tiny

    def drop(sigma: float) -> float:
        measured[sigma] = healthy - bench.held(seen(noisy(sigma), bench.source, bench.indices).mean(1))
        return measured[sigma]

    def planted(wanted: float) -> Damaged:
        known = [severity for severity, loss in measured.items() if abs(loss - wanted) <= 1.0]
        sigma = (
            known[0] if known else find_dose(drop, wanted, 0.5, tolerance=1.0, attempts=6, limit=8.0).severity
        )
        tiny = noisy(sigma)
        tokens = seen(tiny, subject.bench.source, subject.bench.indices)
        return _adapted(
            subject, order, tiny, tokens, [tiny.connector, tiny.decoder, tiny.head], sigma, "sigma"
        )

    return _towards(order, planted)


def _earlier_layer(subject: Subject, order: Order) -> Damaged:
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
    return _adapted(
        subject, order, tiny, tokens, [tiny.connector, tiny.decoder, tiny.head], back, "layers too early"
    )


def _towards(order: Order, planted: Callable[[float], Damaged]) -> Damaged:
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
    order: Order,
    tiny: TinyModel,
    tokens: Tensor,
    modules: list[torch.nn.Module],
    severity: float,
    unit: str,
) -> Damaged:
    bench = subject.bench
    part = bench.fit
    adapt(tiny, bench.source, tokens[part], bench.indices[part], modules, seed=order.seed)
    return Damaged(tiny, severity, unit, subject.answers - answered(tiny, bench, tokens))


def _measured(subject: Subject, tiny: TinyModel, severity: float, unit: str) -> Damaged:
    tokens = seen(tiny, subject.bench.source, subject.bench.indices)
    return Damaged(tiny, severity, unit, subject.answers - answered(tiny, subject.bench, tokens))


def _smaller(bench: Bench) -> Bench:
    """Return a bench of fewer images, the last of those that fit and the first of those held out."""
    fit = min(round(0.6 * _DOSED), bench.fitted)
    held_out = min(_DOSED - fit, len(bench.labels) - bench.fitted)
    part = slice(bench.fitted - fit, bench.fitted + held_out)
    return replace(bench.of(part), fitted=fit)


def _basis(width: int, order: Order, number: int) -> Tensor:
    drawn = torch.randn(width, width, generator=generator(order, 10 + number), dtype=torch.float64)
    return torch.linalg.qr(drawn).Q
