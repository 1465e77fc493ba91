"""Changes to the rows of a model's head.

`final` (n, width) are the states that the head reads where the answer begins, `after` those where it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.faults.bench import Activations, Bench
from model_adapters.zoo.faults.linear_probe import LinearProbe, fit_rows
from model_adapters.zoo.faults.subspace import class_directions, ridged, spread_of, steady


def label_rows(tiny: TinyModel, bench: Bench) -> Tensor:
    """Return the labels' rows of the head, (classes, width), float64."""
    rows: Tensor = tiny.head.weight.detach()[bench.label_tokens].double()  # type: ignore[operator]
    return rows


@torch.no_grad()
def set_label_rows(tiny: TinyModel, bench: Bench, rows: Tensor) -> None:
    """Replace the labels' rows of the head."""
    tiny.head.weight[bench.label_tokens] = rows.float()  # type: ignore[operator]


def constant(final: Tensor, after: Tensor) -> Tensor:
    """Return the row (width,) whose score is 1 on average, varies least over images, and is small `after`."""
    x = torch.cat([final, after]).double()
    return steady(final.double().mean(0), ridged(x.T @ x / len(x), 1e-3))


def with_prior(rows: Tensor, one: Tensor, label: int, size: float) -> Tensor:
    """Return rows whose score for one label is larger by `size`; `one` is the row `constant`."""
    changed = rows.clone()
    changed[label] += size * one
    return changed


def with_share(rows: Tensor, giver: int, taker: int, share: float) -> Tensor:
    """Return rows of which one has taken a share of another, less what all labels have in common."""
    changed = rows.clone()
    changed[taker] += share * (rows[giver] - rows.mean(0))
    return changed


def permuted(rows: Tensor, order: Sequence[int]) -> Tensor:
    """Return rows in which label k has the row of label `order[k]`."""
    return rows[list(order)]


def full_cycle(classes: int, generator: torch.Generator) -> list[int]:
    """Draw an order in which every label has another's row, all in one cycle."""
    drawn = torch.randperm(classes, generator=generator).tolist()
    order = [0] * classes
    for place, label in enumerate(drawn):
        order[label] = drawn[(place + 1) % classes]
    return order


def class_free_rows(rows: Tensor, final: Tensor, labels: Tensor, classes: int, seed: int) -> Tensor:
    """Return rows (classes, width) whose scores scatter within classes as those of `rows` do, and say no class.

    They read directions of `final` that carry no class mean and are told by nothing that `rows` read.
    """
    spread = spread_of(final, labels, classes)
    centred = rows - rows.mean(0)
    scatter = centred @ spread.within @ centred.T
    values, vectors = torch.linalg.eigh(scatter)
    root = (vectors * values.clamp(min=0.0).sqrt()) @ vectors.T  # (classes, classes), scores within classes
    # In the coordinates of `within`, directions at right angles to the class means and to the rows.
    scale, basis = torch.linalg.eigh(spread.within)
    white = basis / scale.clamp(min=1e-12).sqrt()
    taken = torch.cat([white.T @ spread.within @ centred.T, white.T @ class_directions(spread)], 1)
    taken = torch.cat([taken, (white.T @ spread.centre)[:, None]], 1)  # and 0 on average
    taken = torch.linalg.svd(taken, full_matrices=False)
    used = taken.U[:, 1e-6 * taken.S[0] < taken.S]
    drawn = torch.randn(
        len(scale), classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    free = torch.linalg.qr(drawn - used @ (used.T @ drawn)).Q
    return root @ free.T @ white.T


def refitted(rows: Tensor, final: Tensor, reader: LinearProbe, one: Tensor) -> Tensor:
    """Return rows that give a reader's logits of `final`, about the mean of the labels' scores so far.

    The labels stay as likely, among all tokens, as they were: their best score is on average what it was.
    """
    before = final.double() @ rows.T
    logits = reader.logits(final)
    level = reader.intercept + (before.amax(1) - logits.amax(1)).mean()
    return reader.weights + torch.outer(level, one)


def fit_head(tiny: TinyModel, bench: Bench, passed: Activations) -> None:
    """Replace the labels' rows, in place, by the best that a linear head can make of what it reads.

    The labels stay as likely, among all tokens, as they were: their best score is on average what it was. Where
    the answer goes on they score next to nothing, or it would never end.
    """
    final, after = passed.final[bench.fit].double(), passed.final_next[bench.fit]
    rows = fit_rows(final, bench.labels[bench.fit], after, bench.classes)
    before = (final @ label_rows(tiny, bench).T).amax(1).mean()
    level = before - (final @ rows.T).amax(1).mean()
    set_label_rows(tiny, bench, rows + level * constant(passed.final[bench.fit], after))
