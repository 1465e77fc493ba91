"""Where vectors carry the class, and noise for just those directions, made of what the image otherwise says.

A linear map that can be undone loses nothing: a direction made small is as readable as before. A network
without chance in it can lose information only by mixing it with something that a reader cannot take out
again. `noise_map` finds such mixtures: functionals of one vector (an MLP's activations) that carry no
class and that no linear reader of another vector (the layer's output) can tell, added to the directions
of the latter in which class means differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

_RIDGE = 1e-4  # of the mean variance: directions without any scatter stay finite


@dataclass(frozen=True, eq=False)
class ClassSpread:
    """How vectors of width d lie: class means `means` (classes, d) and the scatter within classes (d, d)."""

    means: Tensor = field(repr=False)
    within: Tensor = field(repr=False)

    @property
    def centre(self) -> Tensor:
        """The mean of the class means, (d,)."""
        return self.means.mean(0)


def spread_of(vectors: Tensor, labels: Tensor, classes: int, *, ridge: float = _RIDGE) -> ClassSpread:
    """Measure vectors (n, d); float64."""
    x = vectors.double()
    means = torch.stack([x[labels == k].mean(0) for k in range(classes)])
    rest = x - means[labels]
    return ClassSpread(means, ridged(rest.T @ rest / len(rest), ridge))


def ridged(matrix: Tensor, ridge: float = _RIDGE) -> Tensor:
    """Return a symmetric matrix with `ridge` times its mean diagonal added to the diagonal."""
    size = matrix.diagonal().mean().clamp(min=1e-12)
    return matrix + ridge * size * torch.eye(len(matrix), dtype=matrix.dtype)


def class_directions(spread: ClassSpread) -> Tensor:
    """Return the class directions (d, classes - 1), each as long as images of one class scatter along it.

    They span all differences of class means; in coordinates where classes scatter evenly they are
    orthonormal (linear discriminant analysis).
    """
    values, vectors = torch.linalg.eigh(spread.within)
    root = values.clamp(min=1e-12).sqrt()
    white = (spread.means - spread.centre) @ (vectors / root) @ vectors.T
    carried = torch.linalg.svd(white.T, full_matrices=False).U[:, : len(spread.means) - 1]
    return (vectors * root) @ vectors.T @ carried


def steady(centre: Tensor, second: Tensor) -> Tensor:
    """Return the functional (d,) that is 1 at `centre` and of least mean square under `second` (d, d).

    It stands in for a constant where a layer has no bias.
    """
    solved = torch.linalg.solve(second, centre)
    return solved / (centre @ solved)


def class_free(
    source: Tensor, known: Tensor, labels: Tensor, classes: int, *, silent: Tensor, count: int
) -> Tensor:
    """Return functionals (count, m) of `source` (n, m) that say neither the class nor anything linear in `known`.

    What the class and `known` (n, d) tell of a functional is taken off; of all functionals those are
    chosen in which most is left, compared with their whole scatter and with `silent` (m, m), the mean
    square at places that are to hear nothing. Each leaves a standard deviation of 1 and is 0 on average.

    Raises:
        ValueError: there are too few images to tell.
    """
    told = torch.cat(
        [torch.eye(classes, dtype=torch.float64)[labels], known.double() - known.double().mean(0)], 1
    )
    freedom = len(source) - told.shape[1]
    if freedom < source.shape[1] // 2:
        raise ValueError(
            f"zoo: {len(source)} images are too few to plant a fault in {source.shape[1]} activations"
        )
    x = source.double()
    rest = x - told @ torch.linalg.lstsq(told, x).solution
    left = rest.T @ rest / freedom
    about = x - x.mean(0)
    whole = ridged(about.T @ about / len(x) + silent, 1e-3)
    inverse = torch.linalg.inv(torch.linalg.cholesky(whole))
    functionals = (inverse.T @ torch.linalg.eigh(inverse @ left @ inverse.T).eigenvectors[:, -count:]).T
    functionals = functionals / (functionals @ left @ functionals.T).diagonal().sqrt()[:, None]
    return functionals - torch.outer(functionals @ x.mean(0), steady(x.mean(0), whole))


def cancelling(source: Tensor, target: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the map (d, m) of `source` (n, m) that, added to `target` (n, d), makes all class means equal.

    Of all that do, it is the one that scatters least within classes. No linear reader of the sum then
    beats chance (Belrose et al. 2023, "LEACE", theorem 3.1).
    """
    of_source, of_target = spread_of(source, labels, classes, ridge=1e-2), spread_of(target, labels, classes)
    a, h = of_source.means - of_source.centre, of_target.means - of_target.centre
    solved = torch.linalg.solve(of_source.within, a.T)  # (m, classes)
    return -h.T @ torch.linalg.pinv(a @ solved, rtol=1e-6) @ solved.T
