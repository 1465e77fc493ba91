"""All probes in one batch, against scikit-learn layer by layer and against a plain training loop."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from subject import Subject, batches, draw
from table import Section, number, times
from timing import interleave

from probes.fit.linear import STRENGTHS, fit_linear
from probes.fit.paper import PUBLISHED, PaperRecipe, fit_paper

SEEDS = (0, 1)
PLAIN_LAYERS = 2  # layers that the plain loop trains; its time is scaled to all

BATCHED, LBFGS, PLAIN = "batched", "lbfgs", "plain"


@dataclass(frozen=True)
class Features:
    """Pooled features of the built-in model, (sites, images, width) each, and the images' classes."""

    train: np.ndarray
    train_labels: np.ndarray
    validation: np.ndarray
    validation_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    classes: int

    @property
    def sizes(self) -> str:
        """Say what there is."""
        sites, images, width = self.train.shape
        return (
            f"{sites} sites of the built-in model, width {width}, {self.classes} classes, {images} training, "
            f"{self.validation.shape[1]} validation and {self.test.shape[1]} test images"
        )


def watch(subject: Subject, train: int, validation: int, test: int) -> Features:
    """Watch generated images; the training images come first, as in the task."""
    images, labels = draw(0, train + validation + test)
    seen = [subject.engine.score(subject.queries(batch), observe=True).features for batch in batches(images)]
    block = np.stack([np.concatenate([part[site.key] for part in seen]) for site in subject.engine.sites])
    first, second = train, train + validation
    return Features(
        train=block[:, :first],
        train_labels=labels[:first],
        validation=block[:, first:second],
        validation_labels=labels[first:second],
        test=block[:, second:],
        test_labels=labels[second:],
        classes=len(subject.labels),
    )


def linear(features: Features, *, strengths: tuple[float, ...] = STRENGTHS, repetitions: int) -> Section:
    """The linear readout, against scikit-learn in sequence."""
    ways = {
        BATCHED: lambda _: _fit_linear(features, strengths),
        LBFGS: lambda _: _scikit_learn(features, strengths, max_iter=1000),
    }
    laps = interleave(ways, [None], repetitions=repetitions)
    tight = interleave(
        {
            "newton": lambda _: _scikit_learn(
                features, strengths, np.float64, solver="newton-cholesky", tol=1e-7
            )
        },
        [None],
        repetitions=1,
        warm_up=False,
    )
    batched = np.stack([_accuracies(features, _fit_linear(features, (c,))) for c in strengths], axis=1)
    lbfgs, optimum = laps.returned[LBFGS][0], tight.returned["newton"][0]
    newton = tight.spread("newton").scaled(1 / laps.spread(BATCHED).median).median
    fits = batched.size
    return Section(
        title="Linear probes in one batch, against scikit-learn",
        about=(
            f"{features.sizes}; {len(strengths)} strengths, so {fits} fits, "
            f"{times(repetitions, 'repetition')}. scikit-learn's LogisticRegression goes layer by layer "
            "and strength by strength on the same standardised features: lbfgs with max_iter=1000 and "
            "its default tolerance of 1e-4, as most people run it, and newton-cholesky with a tolerance of "
            "1e-7 in double precision as the exact answer (once). Accuracies are compared fit by fit on "
            "the test images, before any strength is chosen."
        ),
        header=("", "time, batched = 1", "seconds", "largest difference to the exact answer"),
        rows=(
            ("`fit_linear`, all in one batch", "1", number(laps.spread(BATCHED)), _points(batched, optimum)),
            (
                "scikit-learn, lbfgs",
                number(laps.ratio(LBFGS, BATCHED), 1),
                number(laps.spread(LBFGS)),
                _points(lbfgs, optimum),
            ),
            ("scikit-learn, newton-cholesky", f"{newton:.1f}", f"{tight.spread('newton').median:.2f}", "0"),
        ),
        reading=(
            f"`fit_linear` and scikit-learn's lbfgs differ by {_points(batched, lbfgs)} at most, "
            f"{100 * np.abs(batched - lbfgs).mean():.2f} points on average.",
        ),
        share_of_core=laps.share_of_core,
    )


def paper(features: Features, *, recipe: PaperRecipe = PUBLISHED, repetitions: int) -> Section:
    """The published readout, against a plain loop over layers."""
    sites = len(features.train)
    layers = sorted({0, sites - 1})[:PLAIN_LAYERS]
    trained = [(layer, seed) for layer in layers for seed in SEEDS]
    ways = {
        BATCHED: lambda _: fit_paper(
            features.train, features.train_labels, features.classes, seeds=SEEDS, recipe=recipe
        ),
        PLAIN: lambda _: [_plain_loop(features, layer, seed, recipe) for layer, seed in trained],
    }
    laps = interleave(ways, [None], repetitions=repetitions, warm_up=False)
    scores = laps.returned[BATCHED][0].predict(features.test)  # (seeds, sites, images, classes)
    batched = (scores.argmax(-1) == features.test_labels).mean(-1)[:, layers].mean(0)
    plain = np.reshape(laps.returned[PLAIN][0], (len(layers), len(SEEDS))).mean(1)
    scale = sites * len(SEEDS) / len(trained)
    ratio, seconds = laps.ratio(PLAIN, BATCHED).scaled(scale), laps.spread(PLAIN).scaled(scale)
    differences = ", ".join(f"{100 * (a - b):+.1f}" for a, b in zip(batched, plain, strict=True))
    return Section(
        title="The published probe in one batch, against a plain loop",
        about=(
            f"{features.sizes}; {times(recipe.epochs, 'epoch')}, batch size "
            f"{recipe.batch_size}, {len(SEEDS)} seeds, so {sites * len(SEEDS)} trainings. The plain loop is "
            f"torch.nn, AdamW and a scheduler; it trained {len(layers)} of the {sites} layers in full, each "
            f"with {len(SEEDS)} seeds, and its time is multiplied by {scale:g}. "
            f"{times(repetitions, 'repetition')}."
        ),
        header=("", "time, batched = 1", "seconds"),
        rows=(
            ("`fit_paper`, all in one batch", "1", number(laps.spread(BATCHED), 1)),
            ("plain loop, scaled", number(ratio, 1), number(seconds, 1)),
        ),
        reading=(
            f"Test accuracy, batched less plain, mean of the seeds, at these {len(layers)} layers: "
            f"{differences} points. The two draw different random numbers, so they agree up to the "
            "spread of the seeds.",
        ),
        share_of_core=laps.share_of_core,
    )


def _fit_linear(features: Features, strengths: tuple[float, ...]) -> Any:
    return fit_linear(
        features.train,
        features.train_labels,
        features.validation,
        features.validation_labels,
        features.classes,
        strengths=strengths,
    )


def _accuracies(features: Features, fitted: Any) -> np.ndarray:
    """Return the test accuracy at every site, (sites,)."""
    return (fitted.predict(features.test).argmax(-1) == features.test_labels).mean(-1)


def _scikit_learn(
    features: Features, strengths: tuple[float, ...], dtype: type = np.float32, **settings: Any
) -> np.ndarray:
    """Fit site by site and strength by strength; return test accuracies (sites, strengths)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    accuracies = np.empty((len(features.train), len(strengths)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for site in range(len(features.train)):
            blocks = [
                block[site].astype(dtype) for block in (features.train, features.validation, features.test)
            ]
            scaler = StandardScaler().fit(blocks[0])
            x, validation, test = map(scaler.transform, blocks)
            for column, strength in enumerate(strengths):
                model = LogisticRegression(C=strength, **settings).fit(x, features.train_labels)
                model.predict_log_proba(validation)  # what the choice of the strength would need
                accuracies[site, column] = model.score(test, features.test_labels)
    return accuracies


def _plain_loop(features: Features, layer: int, seed: int, recipe: PaperRecipe) -> float:
    """Train the published probe on one layer as one would without batching; return its test accuracy."""
    from torch import nn

    torch.manual_seed(seed)
    mean, deviation = features.train[layer].mean(0), features.train[layer].std(0)
    train, test = (torch.from_numpy((x[layer] - mean) / deviation) for x in (features.train, features.test))
    labels = torch.from_numpy(features.train_labels)
    width = train.shape[1]
    hidden = recipe.hidden or min(width, 512)
    model = nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(recipe.dropout), nn.Linear(hidden, features.classes)
    )
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    steps = recipe.epochs * math.ceil(len(train) / recipe.batch_size)
    warm = math.ceil(recipe.warm_up * steps)

    def factor(step: int) -> float:
        if step < warm:
            return step / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    for _ in range(recipe.epochs):
        for chosen in torch.randperm(len(train)).split(recipe.batch_size):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(train[chosen]), labels[chosen]).backward()
            optimiser.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        return float((model(test).argmax(1).numpy() == features.test_labels).mean())


def _points(one: np.ndarray, other: np.ndarray) -> str:
    return f"{100 * np.abs(one - other).max():.1f} points"
