"""Faults between the answer position and the answer: in the head alone, so everything before it is healthy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from model_adapters.zoo.faults.bench import scores
from model_adapters.zoo.faults.dose import find_dose
from model_adapters.zoo.faults.head import (
    class_free_rows,
    constant,
    full_cycle,
    label_rows,
    set_label_rows,
    with_prior,
    with_share,
)
from model_adapters.zoo.faults.head import (
    permuted as permuted_rows,
)
from model_adapters.zoo.faults.subject import FaultRequest, FaultyModel, Subject, generator
from model_adapters.zoo.stored import copy_of

_MARK = "?"  # a token that names no class


def not_used(subject: Subject, order: FaultRequest) -> FaultyModel:
    """Label rows read what says no class, in place of the class (strong) or beside it (mild)."""
    bench, fitted = subject.bench, subject.bench.fit
    rows = label_rows(subject.tiny, bench)
    own = rows - rows.mean(0)
    free = class_free_rows(
        rows, subject.passed.final[fitted], bench.labels[fitted], bench.classes, order.seed
    )
    # What all labels' scores have in common tells the class too, against the scores of other words.
    before = scores(subject.tiny, bench, subject.passed.final[fitted]).double().amax(1).mean()

    def mixed(part: float, size: float) -> Tensor:
        changed = (part * own + size * free) / (part**2 + size**2) ** 0.5
        best = (subject.passed.final[fitted].double() @ changed.T).amax(1).mean()
        return changed + (before - best) * _one(subject)

    if order.degree == "strong":
        return _planted(subject, mixed(0.0, 1.0), 1.0, "share of class-free rows")
    return _dosed(subject, order, lambda size: mixed(1.0, size), "class-free part")


def label_prior(subject: Subject, order: FaultRequest) -> FaultyModel:
    """One label's score is larger by a constant."""
    bench = subject.bench
    label = _drawn_labels(subject, order)[0]
    rows, one = label_rows(subject.tiny, bench), _one(subject)
    return _dosed(subject, order, lambda size: with_prior(rows, one, label, size), "added to a score")


def constant_answer(subject: Subject, order: FaultRequest) -> FaultyModel:
    """One label's score is larger by more than any image can make good."""
    bench = subject.bench
    label = _drawn_labels(subject, order)[0]
    given = scores(subject.tiny, bench, subject.passed.final).double()
    rows, one = label_rows(subject.tiny, bench), _one(subject)
    size = 1.5 * float((given.amax(1) - given[:, label]).max())
    return _planted(subject, with_prior(rows, one, label, size), size, "added to a score")


def swapped(subject: Subject, order: FaultRequest) -> FaultyModel:
    """Two labels' rows change places (strong), or one takes a share of the other's (mild)."""
    rows = label_rows(subject.tiny, subject.bench)
    giver, taker = _drawn_labels(subject, order)[:2]
    if order.degree == "mild":
        return _dosed(subject, order, lambda share: with_share(rows, giver, taker, share), "share taken")
    places = list(range(len(rows)))
    places[giver], places[taker] = taker, giver
    return _planted(subject, permuted_rows(rows, places), 1.0, "pairs exchanged")


def permuted(subject: Subject, order: FaultRequest) -> FaultyModel:
    """All labels' rows change places in one cycle."""
    rows = label_rows(subject.tiny, subject.bench)
    places = full_cycle(len(rows), generator(order, 20))
    return _planted(subject, permuted_rows(rows, places), 1.0, "full cycles")


def unparsable(subject: Subject, order: FaultRequest) -> FaultyModel:
    """A token that names no class is written first, always (strong) or where the labels score low (mild).

    The label scores lose the same constant each, so the drop is one of the written answers.
    """
    bench, tiny = subject.bench, copy_of(subject.tiny)
    (token,) = tiny.processor.tokenizer(_MARK, add_special_tokens=False)["input_ids"]
    best = scores(tiny, bench, subject.passed.final).double().amax(1)[bench.held_out]
    answers = scores(tiny, bench, subject.passed.final).argmax(1)[bench.held_out]
    one = _one(subject)
    level = subject.passed.final.double()[bench.held_out] @ one

    def written(size: float) -> float:
        marked = size * level > best
        return subject.answers - bench.right(torch.where(marked, torch.full_like(answers, -1), answers))

    high = 3.0 * float(best.max().clamp(min=1.0))
    size = high if order.degree == "strong" else find_dose(written, order.target, high, attempts=20).severity
    with torch.no_grad():
        tiny.head.weight[token] = (size * one).float()  # type: ignore[operator]
    return FaultyModel(tiny, size, "score of the mark", written(size))


def _dosed(subject: Subject, order: FaultRequest, rows: Callable[[float], Tensor], unit: str) -> FaultyModel:
    bench = subject.bench
    final = subject.passed.final.double()[bench.held_out]

    def drop(size: float) -> float:
        return subject.answers - bench.right((final @ rows(size).T).argmax(1))

    size = find_dose(drop, order.target, 1.0, attempts=20).severity
    return _planted(subject, rows(size), size, unit)


def _planted(subject: Subject, rows: Tensor, severity: float, unit: str) -> FaultyModel:
    bench, tiny = subject.bench, copy_of(subject.tiny)
    set_label_rows(tiny, bench, rows)
    given = scores(tiny, bench, subject.passed.final[bench.held_out])
    return FaultyModel(tiny, severity, unit, subject.answers - bench.right(given.argmax(1)))


def _one(subject: Subject) -> Tensor:
    fit = subject.bench.fit
    return constant(subject.passed.final[fit], subject.passed.final_next[fit])


def _drawn_labels(subject: Subject, order: FaultRequest) -> list[int]:
    drawn: list[int] = torch.randperm(subject.bench.classes, generator=generator(order, 21)).tolist()
    return drawn
