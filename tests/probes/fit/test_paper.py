"""The published MLP readout against a plain loop over layers with torch.nn and torch's own AdamW."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from probes.fit.paper import FAST, PUBLISHED, PaperRecipe, fit_paper, initial_weights, learning_rates


def features(sites=3, images=150, width=24, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images * 2)
    means = rng.normal(size=(sites, classes, width)) * np.linspace(0.1, 0.8, sites)[:, None, None]
    x = (rng.normal(size=(sites, images * 2, width)) + means[:, labels]).astype(np.float32)
    return x[:, :images], labels[:images], x[:, images:], labels[images:]


def plain_loop(train, labels, test, classes, recipe, seed):
    """One layer, one seed, written the ordinary way; draws its random numbers in the same order."""
    generator = torch.Generator().manual_seed(seed)
    mean, scale = train.mean(0), train.std(0)
    x = torch.from_numpy((train - mean) / scale)
    y = torch.from_numpy(labels)
    width = x.shape[1]
    hidden = recipe.hidden or width
    first, second = nn.Linear(width, hidden), nn.Linear(hidden, classes)
    drawn = initial_weights(width, hidden, classes, generator)
    with torch.no_grad():
        for parameter, values in zip((*first.parameters(), *second.parameters()), drawn, strict=True):
            parameter.copy_(values.T if parameter.ndim == 2 else values[0])
    model = nn.Sequential(first, nn.ReLU(), second)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate)
    steps = recipe.epochs * math.ceil(len(x) / recipe.batch_size)
    warm = math.ceil(recipe.warm_up * steps)

    def factor(step):
        if step < warm:
            return step / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    for _ in range(recipe.epochs):
        order = torch.randperm(len(x), generator=generator)
        masks = torch.ones(len(x), hidden)
        if recipe.dropout:
            masks = (torch.rand(len(x), hidden, generator=generator) >= recipe.dropout) / (1 - recipe.dropout)
        for chosen, mask in zip(order.split(recipe.batch_size), masks.split(recipe.batch_size), strict=True):
            scores = second(torch.relu(first(x[chosen])) * mask)
            optimiser.zero_grad()
            nn.functional.cross_entropy(scores, y[chosen]).backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        return model(torch.from_numpy((test - mean) / scale)).log_softmax(1).numpy()


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_batch_trains_what_a_plain_loop_trains(dropout):
    train, labels, test, truth = features()
    recipe = PaperRecipe(dropout=dropout, epochs=4, learning_rate=1e-3)
    scores = fit_paper(train, labels, 3, seeds=(0, 5), recipe=recipe).predict(test)
    assert scores.shape == (2, 3, 150, 3)
    for row, seed in enumerate((0, 5)):
        for site in range(3):
            plain = plain_loop(train[site], labels, test[site], 3, recipe, seed)
            np.testing.assert_allclose(scores[row, site], plain, atol=2e-3)
    assert (scores[:, 2].argmax(axis=2) == truth).mean() > 0.7


def test_the_published_recipe_is_the_default():
    assert (PUBLISHED.dropout, PUBLISHED.learning_rate, PUBLISHED.warm_up) == (0.1, 1e-4, 0.05)
    assert (PUBLISHED.epochs, PUBLISHED.batch_size) == (20, 4)
    assert (FAST.batch_size, FAST.learning_rate) == (64, 4e-4)


def test_the_learning_rate_warms_up_linearly_and_ends_near_zero():
    rates = learning_rates(200, PaperRecipe(learning_rate=1.0))
    np.testing.assert_allclose(rates[:11], np.arange(11) / 10)
    assert max(rates) == rates[10] == 1.0
    assert rates[105] == pytest.approx(0.5)
    assert 0 < rates[-1] < 1e-3


def test_other_sites_memory_and_global_state_change_nothing():
    train, labels, test, _ = features()
    recipe = PaperRecipe(epochs=2, batch_size=16)
    state = torch.get_rng_state()
    together = fit_paper(train, labels, 3, recipe=recipe).predict(test)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(99)
    one_by_one = fit_paper(train, labels, 3, recipe=recipe, memory_bytes=1).predict(test)
    alone = fit_paper(train[1:2], labels, 3, recipe=recipe).predict(test[1:2])
    np.testing.assert_allclose(together, one_by_one, atol=1e-4)
    np.testing.assert_allclose(together[:, 1:2], alone, atol=1e-4)


def test_seeds_differ():
    train, labels, test, _ = features()
    scores = fit_paper(train, labels, 3, recipe=PaperRecipe(epochs=1)).predict(test)
    assert np.abs(scores[0] - scores[1]).max() > 0.01
