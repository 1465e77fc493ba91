"""What is reported beside the probes, on stored features whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from harness.data.dataset import Dataset, Sample, SplitReport
from harness.passes.context import Run
from harness.passes.store import BATCH, PREFILL, RunStore
from harness.plan.options import EvalOptions
from harness.watch import fitting, layer_checks
from harness.watch.layer_checks import connector_similarity, projection_check
from leaderboard.record.samples import ProbeLine
from leaderboard.scoring.probes import connector_inert, connector_input
from model_adapters.interface import ModelDescription
from probes.sites import Site
from probes.stats.similarity import linear_cka, neighbour_overlap
from tests.harness.conftest import run_of
from tests.harness.small_tasks import make_task

CLASSES = 3
SIZES = {"train": 300, "val": 120, "test": 160}
SITES = (
    Site("vision", 0, "mean", 16),
    Site("vision", 1, "mean", 16, consumed=True),
    Site("vision", 1, "regrouped", 64, consumed=True),
    Site("connector", 0, "mean", 600),
    Site("llm", 0, "last", 40),
)
IMAGES = tuple(
    Sample(f"{split}/{i}", split, i % CLASSES, f"{split}{i}", "0")
    for split, count in SIZES.items()
    for i in range(count)
)
LABELS = np.array([s.label for s in IMAGES])
TEST = np.array([s.split == "test" for s in IMAGES])


def features() -> dict[str, np.ndarray]:
    """The class in every site but the language model's; the connector turns what it is given."""
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((len(IMAGES), 64)) + 3 * np.eye(CLASSES, 64)[LABELS]
    turn = np.linalg.qr(rng.standard_normal((600, 64)))[0].T
    made = {
        "vision.00.mean": hidden[:, :16],
        "vision.01.mean": hidden[:, :16] + 0.1,
        "vision.01.regrouped": hidden,
        "connector.00.mean": hidden @ turn,
        "llm.00.last": rng.standard_normal((len(IMAGES), 40)),
    }
    return {key: array.astype(np.float32) for key, array in made.items()}


class Watched:
    """An engine whose layers were seen; it is not asked anything."""

    description = ModelDescription("seen", None, "0", "Seen", 0, "seen", "float32", "cpu")

    def __init__(self, sites: tuple[Site, ...] = SITES) -> None:
        self.sites = sites


def dataset() -> Dataset:
    task = make_task(*((name, name) for name in ("a", "b", "c")))
    return Dataset(task, IMAGES, "f", True, "here", SplitReport("image"), lambda sample: None)  # type: ignore[arg-type,return-value]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with RunStore(tmp_path / "m" / "t", {"a": 1}) as opened:
        opened.open_features(SITES, len(IMAGES))
        whole = features()
        for number, rows in opened.pending(PREFILL, len(IMAGES)):
            count = min(BATCH, len(IMAGES) - rows.start)
            opened.append(PREFILL, number, [{}] * count, {key: a[rows] for key, a in whole.items()})
        yield run_of(opened, Watched(), dataset())  # type: ignore[arg-type]


def line(site: Site, correct: np.ndarray, split: str = "test") -> ProbeLine:
    labels = LABELS[TEST]
    predictions = np.where(correct, labels, (labels + 1) % CLASSES)
    return ProbeLine(
        site=site.name,
        module=site.module,
        layer=site.layer,
        pool=site.pool,
        width=site.width,
        consumed=site.consumed,
        readout="linear",
        seed=0,
        split=split,
        predictions=tuple(predictions.tolist()),
        scores=((0.0,) * CLASSES,) * len(labels),
    )


def lines(share: float = 0.8, connector: float = 0.8) -> list[ProbeLine]:
    place = np.arange(TEST.sum()) / TEST.sum()
    shares = {site.key: connector if site.module == "connector" else share for site in SITES}
    return [line(site, place < shares[site.key]) for site in SITES]


def test_similarity_is_that_of_the_regrouped_input_and_the_output(run: Run) -> None:
    part = connector_similarity(run, lines())
    assert part is not None
    x, y = (features()[key][TEST] for key in ("vision.01.regrouped", "connector.00.mean"))
    assert part.sites == ("vision.01.regrouped", "connector.00.mean")
    assert part.images == SIZES["test"]
    assert part.cka == pytest.approx(1, abs=1e-5) == pytest.approx(linear_cka(x, y), abs=1e-5)  # a turn
    assert part.cka_debiased == pytest.approx(linear_cka(x, y, debiased=True), abs=1e-9)
    assert part.knn_overlap == pytest.approx(neighbour_overlap(x, y), abs=1e-9)
    assert part.knn_overlap > 0.99
    assert part.knn_chance == pytest.approx(10 / 159)


def test_without_merging_the_plain_mean_is_the_input(run: Run) -> None:
    plain = [one for one in lines() if one.pool != "regrouped"]
    assert connector_input(plain) == ("vision.01", "mean")
    part = connector_similarity(run, plain)
    assert part is not None
    assert part.sites == ("vision.01.mean", "connector.00.mean")
    assert part.cka is not None
    assert part.cka < 0.9
    assert connector_similarity(run, []) is None


def test_more_test_images_than_the_cap_are_chosen_by_class(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_checks, "SIMILARITY_IMAGES", 60)
    part, other = (
        connector_similarity(replace(run, options=EvalOptions(seed=seed)), lines()) for seed in (0, 1)
    )
    assert part is not None
    assert other is not None
    assert part.images == 60
    assert part.knn_chance == pytest.approx(10 / 59)
    assert part == connector_similarity(run, lines())


@pytest.mark.parametrize(("images", "connector", "expected"), [(160, 0.8, True), (160, 0.5, False)])
def test_a_connector_is_inert_or_not_or_unknown(images: int, connector: float, expected: bool) -> None:
    labels, groups = LABELS[TEST], [s.group for s in IMAGES if s.split == "test"]
    assert connector_inert(lines(connector=connector), labels, groups, CLASSES) is expected


def test_a_small_difference_on_few_images_is_neither() -> None:
    labels, groups = LABELS[TEST], [s.group for s in IMAGES if s.split == "test"]
    assert connector_inert(lines(connector=0.78), labels, groups, CLASSES) is None
    pairs = [str(i // 8) for i in range(len(labels))]  # 20 patients: equal predictions prove little
    assert connector_inert(lines(), labels, pairs, CLASSES) is None
    without = [one for one in lines() if one.module != "connector"]
    assert connector_inert(without, labels, groups, CLASSES) is None


def test_every_site_is_probed_again_at_one_width(run: Run) -> None:
    part = projection_check(run, lines())
    assert part is not None
    assert part.dimension == 512
    assert set(part.balanced_accuracies) == {site.key for site in SITES}
    assert part.balanced_accuracies["connector.00.mean"] > 0.75
    assert part.balanced_accuracies["llm.00.last"] < 0.5  # nothing is there
    labels = LABELS[TEST]
    plain = {f"{one.site}.{one.pool}": balanced_accuracy_score(labels, one.predictions) for one in lines()}
    changes = {key: value - plain[key] for key, value in part.balanced_accuracies.items()}
    assert part.largest_at == max(changes, key=lambda key: abs(changes[key])) == "llm.00.last"
    assert part.largest_difference == pytest.approx(changes["llm.00.last"])


def test_sites_taken_a_few_at_a_time_give_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = projection_check(run, lines())
    monkeypatch.setattr(fitting, "MEMORY_BYTES", 1)
    assert projection_check(run, lines()) == whole


def test_equal_and_small_widths_need_no_check(run: Run) -> None:
    narrow = replace(run, engine=Watched(SITES[:2]))  # type: ignore[arg-type]
    assert projection_check(narrow, lines()) is None
    assert projection_check(run, []) is None
