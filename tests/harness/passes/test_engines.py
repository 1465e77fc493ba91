"""Two engines share a run: what is compared, and what is left in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.console import Console
from harness.passes.engines import LoadedEngine, compared_anew, load_for_run
from harness.plan.options import EvalOptions
from model_adapters.catalog.registry import load_engine, shipped_cards
from model_adapters.engines.paired.engine import AnsweringAndWatching
from model_adapters.engines.paired.parity import measure_parity
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.interface import ModelError, Query
from tests.model_adapters.tiny.plain import picture

QUESTION = Query("a", picture(32, 32), "normal or benign?", ("normal", "benign"))
CARD = shipped_cards()["zoo/llava-healthy"]


@pytest.fixture(scope="module")
def engine():
    loaded = load_engine(CARD, device="cpu")
    yield loaded
    loaded.close()


def test_each_task_is_compared_on_its_own_questions(engine):
    first, second = (replace(QUESTION, prompt=words) for words in ("normal or benign?", "Which one?"))
    both = AnsweringAndWatching(engine, engine)
    loaded = LoadedEngine(both, replace(measure_parity(engine, engine, [first]), top1_agreement=0.0))
    again = compared_anew(loaded, lambda: [first, second])
    assert again.engine is both
    assert (again.parity.images, again.parity.top1_agreement) == (2, 1.0)


def test_what_was_compared_on_another_task_says_so(engine):
    parity = measure_parity(engine, engine, [QUESTION])
    once = compared_anew(LoadedEngine(engine, parity), lambda: [QUESTION])
    assert once.parity == replace(parity, detail="compared on another task of the same command")
    assert compared_anew(once, lambda: [QUESTION]) == once
    assert compared_anew(LoadedEngine(engine), lambda: [QUESTION]).parity is None


@pytest.mark.parametrize("probe", [True, False])
def test_nothing_stays_in_memory_where_the_fast_engine_cannot_be_loaded(probe, monkeypatch):
    closed = []
    close = TransformersEngine.close
    monkeypatch.setattr(TransformersEngine, "close", lambda self: closed.append(self) or close(self))
    # Refused by vLLM, or because it is not installed; the engine that watches never sees the argument.
    options = EvalOptions(engine="vllm", device="cpu", probe=probe, model_args={"logprobs": "none"})
    with pytest.raises(ModelError, match=r"vLLM is not installed|logprobs"):
        load_for_run(CARD, options, lambda: [QUESTION], Console())
    assert len(closed) == 1
