"""The answer-target probe on an engine whose layers hold what a test put there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from harness.data.dataset import Dataset, Sample, SplitReport
from harness.passes.asking import ask
from harness.passes.store import BATCH, RunStore
from harness.watch.letters_target import fit_letters, letters_pass, target_images
from leaderboard.record.samples import ANSWER_TARGET, ProbeLine, SampleLine
from leaderboard.scoring import letters
from leaderboard.scoring.letters import score_answer_target
from leaderboard.scoring.probes import by_site
from model_adapters.interface import LabelScores, ModelDescription, Observation, Query
from probes.sites import Site
from tasks.questions import letters_prompt, shuffled_letters_question
from tests.harness.conftest import run_of
from tests.harness.small_tasks import make_task

CLASSES = ("normal", "cyst", "benign", "malignant", "calcified")
WIDTH = 24
SIZES = {"train": 400, "val": 150, "test": 250}
SITES = (
    Site("vision", 0, "mean", WIDTH, consumed=True),
    Site("connector", 0, "mean", WIDTH),
    *(Site("llm", layer, pool, WIDTH) for layer in (0, 1) for pool in ("mean", "last")),
)


def dataset() -> Dataset:
    task = make_task(*((name, name) for name in CLASSES))
    rng = np.random.default_rng(0)
    samples = tuple(
        Sample(f"{split}/{i:04d}", split, int(rng.integers(5)), f"{split}{i // 2}", "0")
        for split, count in SIZES.items()
        for i in range(count)
    )
    picture = Image.new("RGB", (4, 4))
    return Dataset(task, samples, "f", True, "here", SplitReport("image"), lambda sample: picture)


class PlantedEngine:
    """Knows every image's class; its last token holds the class at layer 0, the right letter at layer 1."""

    description = ModelDescription("planted", None, "0", "Planted", 0, "planted", "float32", "cpu")
    sites = SITES

    def __init__(self, data: Dataset, broken: str = "", stop_after: int | None = None) -> None:
        self.labels = {s.id: s.label for s in data.samples}
        self.broken, self.stop_after = broken, stop_after
        self.asked: list[Query] = []

    def score(self, queries: Sequence[Query], *, observe: bool = False) -> Observation:
        assert observe
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += queries
        features = {site.key: np.stack([self._vector(q, site) for q in queries]) for site in SITES}
        scores = (LabelScores((0.0,) * 5, (0.0,) * 5),) * len(queries)
        return Observation(scores, features)

    def _vector(self, query: Query, site: Site) -> np.ndarray:
        if query.id == self.broken:
            return np.full(WIDTH, np.nan, np.float32)
        label = self.labels[query.id]
        letter = next(line[0] for line in query.prompt.splitlines() if line.endswith(f") {CLASSES[label]}"))
        held = {"llm.00.last": label, "llm.01.last": "ABCDE".index(letter)}.get(site.key)
        rng = np.random.default_rng([len(query.id), *query.id.encode(), site.layer])
        noise = rng.standard_normal(WIDTH)
        return (noise if held is None else noise + 4 * np.eye(WIDTH)[held]).astype(np.float32)

    def generate(self, queries: Sequence[Query], *, max_new_tokens: int) -> tuple[()]:
        raise NotImplementedError

    def close(self) -> None:
        pass


def asked_and_fitted(folder: Path, engine: PlantedEngine, data: Dataset) -> tuple[ProbeLine, ...]:
    with RunStore(folder, {"a": 1}) as store:
        run = run_of(store, engine, data)
        letters = letters_pass(run)
        ask(run, letters)
        return fit_letters(run, letters.images)


def filed_lines(data: Dataset) -> list[SampleLine]:
    nothing = {"scores": None, "scores_normalised": None, "predicted": None, "text": None, "read": None}
    return [
        SampleLine(
            id=s.id,
            split=s.split,
            pixel_hash=s.pixel_hash,
            label=s.label,
            group=s.group,
            outcome="no_answer",
            generated_outcome=None,
            orders=(),
            **nothing,
        )
        for s in data.split("test")
    ]


def test_the_letter_is_found_where_it_is_and_not_where_only_the_class_is(tmp_path: Path) -> None:
    data = dataset()
    lines = asked_and_fitted(tmp_path / "m" / "t", PlantedEngine(data), data)
    assert [(line.site, line.split) for line in lines] == [
        (site, split) for site in ("llm.00", "llm.01") for split in ("val", "test")
    ]
    parts = score_answer_target(lines, filed_lines(data), "letters")
    assert parts is not None
    class_layer, letter_layer = parts
    assert letter_layer.accuracy.value > 0.9
    assert class_layer.accuracy.low < class_layer.majority + 0.05
    assert class_layer.accuracy.value < 0.35  # the class is there, and says nothing about the letter
    assert (letter_layer.site, letter_layer.layer, letter_layer.prompt) == ("llm.01", 1, "letters")
    assert letter_layer.accuracy.n == SIZES["test"]


def test_targets_are_the_letters_that_the_prompt_gives_the_right_option(tmp_path: Path) -> None:
    data = dataset()
    engine = PlantedEngine(data)
    lines = asked_and_fitted(tmp_path / "m" / "t", engine, data)
    prompts = {query.id: query.prompt for query in engine.asked}
    for line in lines:
        assert line.targets is not None
        for sample, target in zip(data.split(line.split), line.targets, strict=True):
            assert f"\n{'ABCDE'[target]}) {CLASSES[sample.label]}" in prompts[sample.id]


def test_letters_say_nothing_about_classes() -> None:
    data = dataset()
    prompt = letters_prompt(data.task)
    assert prompt is not None
    counts = np.zeros((5, 5))
    for label in range(5):
        for i in range(1000):
            order = shuffled_letters_question(data.task, prompt, f"image {label} {i}").order
            assert sorted(order) == list(range(5))
            counts[label, order.index(label)] += 1
    assert ((counts - 200) ** 2 / 200).sum(axis=1).max() < 18.5  # chi squared, 4 degrees, p = .001


def test_images_beyond_the_cap_are_neither_asked_nor_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caps = {"train": 300, "val": 100, "test": 120}
    monkeypatch.setattr(letters, "IMAGES", caps)
    data = dataset()
    engine = PlantedEngine(data)
    lines = asked_and_fitted(tmp_path / "m" / "t", engine, data)
    asked = {query.id for query in engine.asked}
    assert len(asked) == sum(caps.values())
    for line in lines:
        assert line.targets is not None
        samples = data.split(line.split)
        assert len(line.predictions) == len(line.targets) == len(line.scores) == len(samples)
        for sample, target, predicted in zip(samples, line.targets, line.predictions, strict=True):
            assert (target >= 0) == (predicted >= 0) == (sample.id in asked)
    parts = score_answer_target(lines, filed_lines(data), "letters")
    assert parts is not None
    assert [part.accuracy.n for part in parts] == [120, 120]
    assert parts[1].accuracy.value > 0.9
    shares = [sum(s.label == k for s in data.split("test")) / 250 for k in range(5)]
    kept = [sum(s.label == k for s in data.split("test") if s.id in asked) / 120 for k in range(5)]
    np.testing.assert_allclose(kept, shares, atol=1 / 120)


def test_an_image_that_cannot_be_shown_counts_as_wrong(tmp_path: Path) -> None:
    data = dataset()
    whole = asked_and_fitted(tmp_path / "a" / "t", PlantedEngine(data), data)
    lines = asked_and_fitted(tmp_path / "b" / "t", PlantedEngine(data, broken="test/0003"), data)
    line = next(line for line in lines if (line.site, line.split) == ("llm.01", "test"))
    assert line.targets is not None
    assert (line.predictions[3], line.scores[3]) == (-1, (0.0,) * 5)
    assert line.targets[3] >= 0
    for parts in (score_answer_target(made, filed_lines(data), "letters") for made in (whole, lines)):
        assert parts is not None
        assert parts[1].accuracy.n == SIZES["test"]
    asked_and_fitted(
        tmp_path / "c" / "t", PlantedEngine(data, broken="train/0003"), data
    )  # fitted without it


def test_a_step_that_was_cut_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    data, images = dataset(), target_images(dataset())
    folder = tmp_path / "m" / "t"
    first = PlantedEngine(data, stop_after=10 * BATCH)
    with pytest.raises(KeyboardInterrupt):
        asked_and_fitted(folder, first, data)
    second = PlantedEngine(data)
    lines = asked_and_fitted(folder, second, data)
    assert [q.id for q in first.asked] + [q.id for q in second.asked] == [s.id for s in images]
    assert len(first.asked) == 10 * BATCH
    assert lines == asked_and_fitted(tmp_path / "other" / "t", PlantedEngine(data), data)
    arrays = load_file(folder / "features-answer_target.safetensors")
    assert {key: array.shape for key, array in arrays.items()} == {
        f"llm.0{layer}.last": (len(images), WIDTH) for layer in (0, 1)
    }


def test_a_task_without_letters_asks_nothing(tmp_path: Path) -> None:
    data = dataset()
    prompts = tuple(prompt for prompt in data.task.prompts if prompt.kind != "letters")
    plain = Dataset(
        data.task.model_copy(update={"prompts": prompts}),
        data.samples,
        "f",
        True,
        "here",
        data.report,
        data.read,
    )
    engine = PlantedEngine(plain)
    assert asked_and_fitted(tmp_path / "m" / "t", engine, plain) == ()
    assert engine.asked == []
    assert score_answer_target((), filed_lines(plain), "letters") is None


def test_class_scores_pass_over_the_lines_of_this_probe(tmp_path: Path) -> None:
    data = dataset()
    lines = asked_and_fitted(tmp_path / "m" / "t", PlantedEngine(data), data)
    assert {line.readout for line in lines} == {ANSWER_TARGET}
    assert by_site(lines) == {}
