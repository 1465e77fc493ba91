"""Probes fitted to stored features, some of which are of images that the model could not be shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.data.dataset import DataError, Dataset, Sample, SplitReport
from harness.passes.context import Run
from harness.passes.store import BATCH, PREFILL, RunStore
from harness.watch import fitting
from harness.watch.probing import fit_probes
from model_adapters.interface import ModelDescription
from probes.fit.linear import fit_linear
from probes.sites import Site
from tests.harness.conftest import run_of
from tests.harness.small_tasks import make_task

SIZES = {"train": 60, "val": 24, "test": 30}
# A wide site before narrow ones: they are fitted by width, and filed in this order.
SITES = (Site("vision", 0, "mean", 12), Site("connector", 0, "mean", 6), Site("llm", 0, "last", 6))
IMAGES = tuple(
    Sample(f"{split}/{i}", split, i % 3, f"{split}{i}", "0")  # type: ignore[arg-type]
    for split, count in SIZES.items()
    for i in range(count)
)
NOT_SHOWN = ("train/4", "test/7")


class Watched:
    """An engine whose layers were seen; it is not asked anything."""

    description = ModelDescription("seen", None, "0", "Seen", 0, "seen", "float32", "cpu")
    sites = SITES


def features(hidden: tuple[str, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found = {}
    for site in SITES:
        layer = rng.standard_normal((len(IMAGES), site.width)).astype(np.float32)
        layer += 2 * np.eye(3, site.width, dtype=np.float32)[[s.label for s in IMAGES]]
        layer[[s.id in hidden for s in IMAGES]] = np.nan
        found[site.key] = layer
    return found


def opened(folder: Path, hidden: tuple[str, ...]) -> Run:
    task = make_task(*((name, name) for name in ("a", "b", "c")))
    data = Dataset(task, IMAGES, "f", True, "here", SplitReport("image"), lambda sample: None)  # type: ignore[arg-type,return-value]
    store = RunStore(folder / "m" / "t", {"a": 1})
    with store:
        store.open_features(SITES, len(IMAGES))
        whole = features(hidden)
        for number, rows in store.pending(PREFILL, len(IMAGES)):
            count = min(BATCH, len(IMAGES) - rows.start)
            store.append(PREFILL, number, [{}] * count, {key: a[rows] for key, a in whole.items()})
    return run_of(store, Watched(), data)  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = opened(tmp_path, NOT_SHOWN)
    with run.store:
        run.store.open_features(SITES, len(IMAGES))
        yield run


def test_probes_are_those_of_the_images_that_were_shown(run: Run) -> None:
    lines = fit_probes(run).lines
    assert [(line.site, line.split) for line in lines] == [
        (site.name, split) for site in SITES for split in ("val", "test")
    ]
    labels = {split: np.array([s.label for s in IMAGES if s.split == split]) for split in SIZES}
    shown = np.arange(SIZES["train"]) != 4
    for site in SITES:
        layer = features(())[site.key]
        x = {split: layer[[s.split == split for s in IMAGES]][None] for split in SIZES}
        probe = fit_linear(x["train"][:, shown], labels["train"][shown], x["val"], labels["val"], 3)
        line = next(one for one in lines if (one.site, one.split) == (site.name, "test"))
        expected = probe.predict(x["test"])[0]
        kept = np.arange(SIZES["test"]) != 7
        np.testing.assert_allclose(np.array(line.scores)[kept], expected[kept], atol=1e-3)
        assert (line.predictions[7], line.scores[7]) == (-1, (0.0,) * 3)
        assert line.predictions[:7] == tuple(np.argmax(line.scores[:7], axis=1))


def test_sites_taken_one_at_a_time_give_the_same_lines(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_probes(run)
    monkeypatch.setattr(fitting, "MEMORY_BYTES", 1)
    found = fit_probes(run)
    assert [one.predictions for one in found.lines] == [one.predictions for one in whole.lines]
    assert found.permutation == whole.permutation


def test_a_split_that_could_not_be_shown_is_an_error(tmp_path: Path) -> None:
    run = opened(tmp_path, tuple(s.id for s in IMAGES if s.split == "train"))
    with run.store:
        run.store.open_features(SITES, len(IMAGES))
        with pytest.raises(DataError, match="no train image could be shown"):
            fit_probes(run)
