"""The one asking loop, on an engine that keeps what it was asked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from harness.data.dataset import Dataset, Sample, SplitReport
from harness.passes.answers import free_text, label_scores, variants
from harness.passes.asking import ask
from harness.passes.context import Run
from harness.passes.store import BATCH, RunStore
from model_adapters.interface import (
    Abilities,
    Generation,
    LabelScores,
    ModelDescription,
    Observation,
    Query,
)
from probes.sites import Site
from tests.harness.conftest import run_of
from tests.harness.small_tasks import make_task

COUNT = 2 * BATCH + 5
SITE = Site("llm", 0, "last", 3)
ABLE = Abilities()


class Asked:
    """Answers with the length of the prompt, and shows the place of the image's number."""

    def __init__(self, abilities: Abilities = ABLE, sites: tuple[Site, ...] = (SITE,)) -> None:
        self.description = ModelDescription(
            "asked", None, "0", "Asked", 0, "asked", "float32", "cpu", abilities=abilities
        )
        self.sites = sites
        self.calls: list[list[Query]] = []

    def score(self, queries: Sequence[Query], *, observe: bool = False) -> Observation:
        self.calls.append(list(queries))
        scores = tuple(self._scores(query) for query in queries)
        numbers = np.array([[int(query.id)] for query in queries], dtype=np.float32)
        shown = {
            SITE.key: numbers * np.ones(3, np.float32),
            "llm.01.last": numbers,
        }  # one more than was asked for
        return Observation(scores, shown if observe else {})

    def _scores(self, query: Query) -> LabelScores:
        if query.id == "1":
            return LabelScores((), (), error="too large")
        first = -math.inf if query.id == "2" else -float(len(query.prompt))
        raw = (first, *(-float(i) for i in range(1, len(query.labels))))
        return LabelScores(raw, raw)

    def generate(self, queries: Sequence[Query], *, max_new_tokens: int) -> tuple[Generation, ...]:
        self.calls.append(list(queries))
        return tuple(Generation(f"{query.id} in {max_new_tokens}", finished=True) for query in queries)

    def close(self) -> None:
        pass


@pytest.fixture
def data() -> Dataset:
    samples = tuple(Sample(str(i), "test", i % 2, str(i), "0") for i in range(COUNT))
    task = make_task(("normal", "normal"), ("cyst", "cyst"))
    return Dataset(task, samples, "f", True, "here", SplitReport("image"), Reader())


class Reader:
    """Reads pictures and counts how often each was read."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()

    def __call__(self, sample: Sample) -> Image.Image:
        self.times[sample.id] += 1
        return Image.new("RGB", (2, 2))


def opened(folder: Path, engine: Asked, data: Dataset, **options: object) -> Run:
    return run_of(RunStore(folder / "m" / "t", {"a": 1}), engine, data, **options)  # type: ignore[arg-type]


def test_each_batch_is_asked_in_order_and_its_features_lie_in_its_rows(tmp_path: Path, data: Dataset) -> None:
    engine = Asked()
    run = opened(tmp_path, engine, data)
    with run.store:
        lines = ask(run, label_scores(run))
    assert [[q.id for q in call] for call in engine.calls] == [
        [str(i) for i in range(start, min(start + BATCH, COUNT))] for start in range(0, COUNT, BATCH)
    ]
    assert lines[0] == {"scores": [-21.0, -1.0], "normalised": [-21.0, -1.0], "error": None}
    assert lines[1] == {"scores": None, "normalised": None, "error": "too large"}
    assert lines[2] == {"scores": None, "normalised": None, "error": "a label's score is not finite"}
    arrays = load_file(run.store.folder / "features.safetensors")
    assert set(arrays) == {SITE.key}
    np.testing.assert_array_equal(arrays[SITE.key], np.arange(COUNT)[:, None] * np.ones(3))


def test_all_questions_about_an_image_share_one_reading_and_come_back_to_it(
    tmp_path: Path, data: Dataset
) -> None:
    engine = Asked()
    run = opened(tmp_path, engine, data)
    with run.store:
        lines = ask(run, variants(run))
    assert set(data.read.times.values()) == {1}  # type: ignore[attr-defined]
    for line in lines[3:]:
        assert [(one["prompt"], one["order"]) for one in line["orders"]] == [
            ("paraphrase_1", [0, 1]),
            ("paraphrase_2", [0, 1]),
            ("letters", [0, 1]),
            ("letters", [1, 0]),
        ]
        plain, turned = line["orders"][2:]
        assert plain["scores"] == turned["scores"][::-1]  # the first label is the other class


def test_what_is_stored_is_not_asked_again(tmp_path: Path, data: Dataset) -> None:
    stopped, goes_on = Asked(), Asked()
    run = opened(tmp_path, stopped, data)
    written = free_text(run, 7)

    def cut(queries: Sequence[Query], *, max_new_tokens: int) -> tuple[Generation, ...]:
        if stopped.calls:
            raise KeyboardInterrupt
        return Asked.generate(stopped, queries, max_new_tokens=max_new_tokens)

    stopped.generate = cut  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt), run.store:
        ask(run, written)
    again = replace(run, engine=goes_on, store=RunStore(run.store.folder, {"a": 1}))  # type: ignore[arg-type]
    with again.store:
        lines = ask(again, written)
    assert [q.id for call in goes_on.calls for q in call] == [str(i) for i in range(BATCH, COUNT)]
    assert lines == [{"text": f"{i} in 7", "finished": True, "error": None} for i in range(COUNT)]


def test_an_engine_without_label_scores_is_not_asked_for_them(tmp_path: Path, data: Dataset) -> None:
    engine = Asked(Abilities(label_scores=False), sites=())
    run = opened(tmp_path, engine, data)
    with run.store:
        lines = ask(run, label_scores(run))
        assert ask(run, variants(run)) == []
    assert (engine.calls, data.read.times) == ([], {})  # type: ignore[attr-defined]
    assert lines == [{"scores": None, "normalised": None, "error": None}] * COUNT
