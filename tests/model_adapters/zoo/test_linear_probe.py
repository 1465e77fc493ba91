"""The readers that faults are dosed by and heads are fitted with, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from model_adapters.zoo.faults.linear_probe import fit_linear_probe, fit_rows

CLASSES, WIDTH, IMAGES = 4, 12, 400
PENALTY = 3e-3


@pytest.fixture(scope="module")
def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=IMAGES)
    centres = rng.standard_normal((CLASSES, WIDTH))
    vectors = 5.0 + centres[labels] + rng.standard_normal((IMAGES, WIDTH)) * np.geomspace(0.3, 3.0, WIDTH)
    return torch.from_numpy(vectors), torch.from_numpy(labels)


def sklearn_scores(features: np.ndarray, labels: np.ndarray, *, intercept: bool) -> np.ndarray:
    """Fit the same loss: the mean cross-entropy plus PENALTY times the squared weights."""
    strength = 1 / (2 * PENALTY * len(features))
    fitted = LogisticRegression(C=strength, fit_intercept=intercept, tol=1e-10, max_iter=5000)
    return np.asarray(fitted.fit(features, labels).predict_proba(features))


def test_reader_is_logistic_regression_on_standardised_vectors(
    drawn: tuple[torch.Tensor, torch.Tensor],
) -> None:
    vectors, labels = drawn
    found = fit_linear_probe(vectors, labels, CLASSES, penalty=PENALTY).logits(vectors).softmax(1).numpy()
    x = vectors.numpy()
    standardised = (x - x.mean(0)) / x.std(0, ddof=1)
    np.testing.assert_allclose(found, sklearn_scores(standardised, labels.numpy(), intercept=True), atol=2e-3)


def test_rows_are_logistic_regression_without_intercept(drawn: tuple[torch.Tensor, torch.Tensor]) -> None:
    vectors, labels = drawn
    nothing = torch.zeros(1, WIDTH)
    found = (vectors @ fit_rows(vectors, labels, nothing, CLASSES, penalty=PENALTY).T).softmax(1).numpy()
    x = vectors.numpy()
    values, basis = np.linalg.eigh(x.T @ x / len(x))
    white = x @ (basis / np.sqrt(values + 1e-3 * values.mean()))
    np.testing.assert_allclose(found, sklearn_scores(white, labels.numpy(), intercept=False), atol=2e-3)


def test_rows_say_next_to_nothing_where_they_are_to_be_silent(
    drawn: tuple[torch.Tensor, torch.Tensor],
) -> None:
    vectors, labels = drawn
    silent = torch.from_numpy(np.random.default_rng(1).standard_normal((50, WIDTH))) * 8.0
    heard, quiet = (
        silent @ fit_rows(vectors, labels, given, CLASSES, penalty=PENALTY).T
        for given in (torch.zeros(1, WIDTH), silent)
    )
    assert quiet.square().mean() < 0.5 * heard.square().mean()
