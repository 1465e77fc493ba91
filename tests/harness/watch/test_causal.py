"""The causal check on the built-in model: its answers are made of the class, those of a blind one are not."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
import torch

from harness.console import Console
from harness.data.dataset import Dataset, Sample
from harness.data.sources import load_dataset
from harness.passes.answers import label_scores
from harness.passes.asking import ask
from harness.passes.engines import LoadedEngine
from harness.passes.store import BATCH, RunStore
from harness.plan.options import EvalOptions
from harness.plan.plan import make_plan
from harness.run.filing import scoring_settings
from harness.run.run import run
from harness.watch import causal, causal_images
from harness.watch.causal import CausalCheck, causal_check, causal_sites
from harness.watch.causal_images import choose_donors, choose_images
from leaderboard.record.checks import CausalLocusPart, CausalPart
from leaderboard.record.record import read_record
from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.interface import ModelDescription
from probes.sites import Site
from tasks.catalog import load
from tests.harness.conftest import comparable, harness, read_json, result, run_of

CONNECTOR, IMAGE_TOKENS, LAST_TOKEN = "connector.00.mean", "llm.01.mean", "llm.03.last"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Train and test images of the phantom, fewer than a run has."""
    whole = load_dataset(load("phantom-200"))
    kept = (*whole.split("train"), *whole.split("test")[:100])
    return replace(whole, samples=kept)


@pytest.fixture(autouse=True)
def _few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(causal_images, "IMAGES", BATCH)
    monkeypatch.setattr(
        causal,
        "causal_sites",
        lambda sites: tuple(s for s in sites if s.key in (CONNECTOR, IMAGE_TOKENS, LAST_TOKEN)),
    )


def loaded() -> TransformersEngine:
    engine = load_engine(resolve(["zoo/llava-healthy"])[0].card, device="cpu")
    assert isinstance(engine, TransformersEngine)
    return engine


@pytest.fixture(scope="module")
def healthy() -> TransformersEngine:
    return loaded()


@pytest.fixture(scope="module")
def blind() -> TransformersEngine:
    """The same model with no value passed on from any token to another."""
    engine = loaded()
    with torch.no_grad():
        for layer in engine.anatomy.decoder_layers:
            layer.self_attn.v_proj.weight.zero_()  # type: ignore[union-attr,operator]
    return engine


Watched = Callable[[TransformersEngine], RunStore]


@pytest.fixture(scope="module")
def prefilled(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a run's folder with an engine's features in it."""
    root = tmp_path_factory.mktemp("prefilled")

    @cache
    def prefill(engine: TransformersEngine) -> Path:
        folder = root / str(id(engine)) / "t"
        with RunStore(folder, {"a": 1}) as store:
            run = run_of(store, engine, dataset)
            ask(run, label_scores(run))
        return folder

    return prefill


@pytest.fixture
def watched(prefilled: Callable[..., Path], dataset: Dataset, tmp_path: Path) -> Iterator[Watched]:
    """Return an open store with an engine's features in it and nothing else."""
    with ExitStack() as stack:

        def watch(engine: TransformersEngine) -> RunStore:
            folder = tmp_path / uuid4().hex / "t"
            shutil.copytree(prefilled(engine), folder)
            store = stack.enter_context(RunStore(folder, {"a": 1}))
            store.open_features(engine.sites, len(dataset.samples))
            return store

        yield watch


def check(store: RunStore, engine: TransformersEngine, dataset: Dataset, seed: int = 0) -> CausalCheck:
    return causal_check(run_of(store, engine, dataset, seed=seed))


def by_place(part: CausalPart | None) -> dict[str, CausalLocusPart]:
    assert part is not None
    return {f"{locus.site}.{locus.pool}": locus for locus in part.loci}


def test_a_healthy_models_answers_are_made_of_the_class(
    healthy: TransformersEngine, dataset: Dataset, watched: Watched
) -> None:
    part = check(watched(healthy), healthy, dataset).part
    found = by_place(part)
    assert set(found) == {CONNECTOR, IMAGE_TOKENS, LAST_TOKEN}
    for place, locus in found.items():
        erasure, patching = locus.erasure, locus.patching
        assert patching is not None
        assert erasure.rank == 4  # five classes
        assert len(erasure.null) == 20
        assert erasure.p == pytest.approx(1 / 21)
        assert erasure.margin_drop.low > 3 * max(erasure.null), place
        assert patching.p < 0.001
        assert patching.shift.low > 1 > patching.null.high, place
    for place in (CONNECTOR, LAST_TOKEN):
        patching = found[place].patching
        assert patching is not None
        assert patching.taken_over > 0.8 > 0.1 > patching.null_taken_over
        assert found[place].erasure.accuracy_drop > 0.3 > 0.05 > found[place].erasure.null_accuracy_drop
    assert part is not None
    assert part.images == 32
    assert part.connector_is_only_way is True
    assert part.detail == (
        "32 test images, 32 of them with donors of another class and of their own; all that the answers know of "
        "an image goes through the connector's output"
    )


def test_a_blind_models_answers_depend_on_no_image_token(
    blind: TransformersEngine, dataset: Dataset, watched: Watched
) -> None:
    found = by_place(check(watched(blind), blind, dataset).part)
    for place in (CONNECTOR, IMAGE_TOKENS):
        erasure, patching = found[place].erasure, found[place].patching
        assert patching is not None
        assert erasure.rank == 4  # a probe would find the class here
        assert set(erasure.null) == {0.0} == {erasure.margin_drop.value, erasure.accuracy_drop}
        assert patching.shift.value == patching.null.value == 0
        assert erasure.p == patching.p == 1


class _Stopping:
    """An engine's `score` that is interrupted after so many calls, and counts the queries it is asked."""

    def __init__(self, engine: TransformersEngine, calls: int | None = None) -> None:
        self.score, self.left, self.asked = engine.score, calls, Counter[str]()

    def __call__(self, queries, **keywords):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        self.asked.update(query.id for query in queries)
        return self.score(queries, **keywords)


def test_a_check_that_was_cut_off_ends_as_one_that_was_not(
    healthy: TransformersEngine, dataset: Dataset, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causal_images, "IMAGES", BATCH + 8)  # two batches
    monkeypatch.setattr(causal, "causal_sites", lambda sites: tuple(s for s in sites if s.key == CONNECTOR))
    monkeypatch.setattr(causal, "ERASURES", 4)
    store, other = watched(healthy), watched(healthy)
    whole = check(store, healthy, dataset)
    passes = 1 + 5 + 3
    with monkeypatch.context() as cut:
        cut.setattr(healthy, "score", _Stopping(healthy, calls=passes + 3), raising=False)
        with pytest.raises(KeyboardInterrupt):
            check(other, healthy, dataset)
    with monkeypatch.context() as counted:
        counted.setattr(healthy, "score", again := _Stopping(healthy), raising=False)
        assert check(other, healthy, dataset) == whole
    checked = choose_images(healthy, dataset, dataset.split("test"), 0).samples
    late = {sample.id for sample in checked[BATCH:]}
    assert {name for name, times in again.asked.items() if times >= passes} == late
    assert check(store, healthy, dataset, seed=0) == whole  # from the store alone


def test_what_was_done_without_is_completed_and_nothing_else_changes(
    healthy: TransformersEngine, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causal, "causal_sites", lambda sites: tuple(s for s in sites if s.key == CONNECTOR))
    output = tmp_path / "out"
    shutil.copytree(finished, output)
    options = EvalOptions(output=output)
    (planned,) = make_plan(["phantom-200"], ["zoo/llava-healthy"], options).runs
    before = read_json(result(output) / "record.json")
    monkeypatch.setattr(healthy, "generate", None, raising=False)  # nothing is asked again
    record = run(planned, lambda _: LoadedEngine(healthy), replace(options, causal=True), Console())
    assert set(by_place(record.causal)) == {CONNECTOR}
    assert record.cost.seconds["causal"] > 0
    after = comparable(read_json(result(output) / "record.json"))
    assert after["configuration"]["judgement"].pop("causal") == {"images": 96, "erasures": 20, "layers": 3}
    assert after.pop("causal") is not None
    assert before.pop("causal") is None
    assert after == comparable(before)
    assert read_record(result(output) / "record.json") == record

    def never(_questions: object) -> LoadedEngine:
        raise AssertionError("a finished run loads no model")

    assert run(planned, never, replace(options, causal=True), Console()) == record


def test_settings_name_the_check_only_where_it_is_asked_for() -> None:
    without = scoring_settings(EvalOptions(), "k")
    asked = scoring_settings(EvalOptions(causal=True), "k")
    assert set(asked) - set(without) == {"causal"}
    assert {key: asked[key] for key in without} == without
    assert set(without) == {"readouts", "scoring_version", "floors", "answer_target", "diagnosis"}


def test_an_engine_that_shows_sites_but_cannot_be_changed_gives_a_reason(dataset: Dataset) -> None:
    class Closed:
        description = ModelDescription("far/away", None, "0", "Far", 0, "elsewhere", "float32", "cpu")
        sites = (Site("connector", 0, "mean", 8),)

    found = causal_check(run_of(None, Closed(), dataset))  # type: ignore[arg-type]
    assert found == CausalCheck(None, "the engine elsewhere lets no one into its hidden states")


def test_it_cannot_be_asked_for_without_the_layers(tmp_path: Path) -> None:
    arguments = ("--tasks", "phantom-200", "--models", "zoo/llava-healthy", "--causal", "--no-probe")
    done = harness("eval", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert "--causal works on watched layers; leave out --no-probe" in done.stderr


@pytest.mark.parametrize(
    ("layers", "image_tokens", "last_token"),
    [(1, [], [0]), (2, [0], [0, 1]), (4, [0, 1, 2], [0, 2, 3]), (29, [0, 14, 27], [0, 14, 28])],
)
def test_places_are_first_middle_and_last_of_what_can_matter(
    layers: int, image_tokens: list[int], last_token: list[int]
) -> None:
    sites = [Site("vision", 0, "mean", 8), Site("connector", 0, "mean", 8)]
    sites += [Site("llm", layer, pool, 8) for layer in range(layers) for pool in ("mean", "last")]
    expected = ["connector.00.mean"]
    expected += [f"llm.{layer:02d}.mean" for layer in image_tokens]
    expected += [f"llm.{layer:02d}.last" for layer in last_token]
    assert [site.key for site in causal_sites(sites)] == expected


def sample(number: int, label: int, group: str | None = None) -> Sample:
    return Sample(f"test/{number}", "test", label, group or f"patient {number}", "0")


def test_donors_are_of_another_group_and_of_the_same_layout() -> None:
    samples = [sample(i, i % 3, f"patient {i // 4}") for i in range(30)]
    layouts = ["wide" if i < 12 else "square" for i in range(30)]
    donors = choose_donors(samples, layouts, 0)
    for place, pair in enumerate(donors):
        assert pair is not None
        for donor, same in ((pair.across, False), (pair.within, True)):
            assert layouts[donor] == layouts[place]
            assert samples[donor].group != samples[place].group
            assert (samples[donor].label == samples[place].label) is same
    times = Counter(pair.across for pair in donors if pair)
    assert max(times.values()) <= 2  # no image gives its tokens to all
    assert choose_donors(samples, layouts, 0) == donors
    assert choose_donors(samples, layouts, 1) != donors


def test_without_both_donors_there_are_none() -> None:
    samples = [sample(0, 0), sample(1, 0), sample(2, 1), sample(3, 0), sample(4, 1, "patient 2")]
    donors = choose_donors(samples, ["a", "a", "a", "b", "a"], 0)
    assert [pair is not None for pair in donors] == [True, True, False, False, False]


def test_images_of_a_batch_are_of_all_classes_and_of_one_layout_where_that_can_be(
    healthy: TransformersEngine, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causal_images, "IMAGES", 96)
    checked = choose_images(healthy, dataset, dataset.split("test"), 0).samples
    shares = Counter(s.label for s in dataset.split("test"))
    chosen = Counter(s.label for s in checked)
    assert len({s.id for s in checked}) == 96
    assert all(abs(chosen[k] - 96 * n / 100) < 1 for k, n in shares.items())
    for start in range(0, 96, BATCH):
        in_batch = Counter(s.label for s in checked[start : start + BATCH])
        assert all(abs(in_batch[k] - chosen[k] / 3) < 2 for k in chosen)
    assert choose_images(healthy, dataset, dataset.split("test")[::-1], 0).samples != ()
    assert {s.id for s in choose_images(healthy, dataset, dataset.split("test"), 1).samples} != {
        s.id for s in checked
    }
