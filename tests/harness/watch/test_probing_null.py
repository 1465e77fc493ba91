"""What a record says about permuted labels, against `probes.stats.permutation` on all sites at once."""

from __future__ import annotations

import numpy as np
import pytest

from harness.watch.probing import BAND, SiteNull, permutation_part
from probes.sites import Site
from probes.stats.permutation import permutation_null

SITES = (
    Site("vision", 0, "mean", 6),
    Site("vision", 1, "mean", 6, consumed=True),
    Site("vision", 1, "regrouped", 12, consumed=True),
    Site("connector", 0, "mean", 9),
)


@pytest.mark.parametrize("signal", [0.0, 0.6])
def test_bands_and_the_vision_layers_p_are_those_of_one_null(signal: float) -> None:
    rng = np.random.default_rng(0)
    labels = {name: rng.integers(3, size=60) for name in ("train", "test")}
    features = {
        name: [rng.normal(size=(60, site.width)) + signal * y[:, None] for site in SITES]
        for name, y in labels.items()
    }
    groups = np.arange(60) // 2
    labels["train"] = labels["train"][groups * 2]

    def null(places: list[int]):
        chosen = {name: [layers[i] for i in places] for name, layers in features.items()}
        return permutation_null(
            chosen["train"], labels["train"], groups, chosen["test"], labels["test"], 3, draws=60, seed=4
        )

    whole, vision = null([0, 1, 2, 3]), null([0, 1, 2])
    # As `fit_probes` gathers them: sites of one width at a time.
    parts = {i: null([i]) for i in range(4)}
    found = permutation_part({SITES[i]: SiteNull(p.observed[0], p.null[:, 0]) for i, p in parts.items()})
    assert found.vision_p == pytest.approx(vision.familywise_p.min())
    assert found.highest == pytest.approx(whole.max_band())
    for column, site in enumerate(SITES):
        assert found.bands[site.key] == pytest.approx(np.quantile(whole.null[:, column], BAND))


def test_without_vision_layers_there_is_no_p() -> None:
    found = permutation_part({SITES[3]: SiteNull(0.9, np.linspace(0.1, 0.5, 21))})
    assert found.vision_p is None
    assert found.bands == {"connector.00.mean": pytest.approx((0.12, 0.3, 0.48))}
