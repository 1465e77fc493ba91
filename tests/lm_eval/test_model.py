"""Our engines as a model of the real lm-eval: the scores of `harness eval`, from one prefill an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lm_eval")

from harness.lm_eval.model import HarnessLM
from model_adapters.interface import ModelError
from tests.lm_eval.conftest import LIMIT, TASK, evaluated, harness, lines_of_test

CLASSES = 5


@pytest.fixture(scope="module", params=["trained", "random"])
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def model(name: str, models: Mapping[str, Path]) -> HarnessLM:
    return HarnessLM(str(models[name]), device="cpu", batch_size=16)


@contextmanager
def counted(model: HarnessLM) -> Iterator[list[int]]:
    """Note how many pictures each pass through the vision encoder has."""
    pictures: list[int] = []
    first = model.engine.anatomy.vision_blocks[0]
    handle = first.register_forward_pre_hook(lambda _, inputs: pictures.append(inputs[0].shape[0]))
    try:
        yield pictures
    finally:
        handle.remove()


@pytest.mark.parametrize("template", [True, False])
def test_label_scores_are_ours_from_one_prefill_an_image(
    model: HarnessLM, name: str, exported: Path, filed: Callable[[str], Path], template: bool
) -> None:
    with counted(model) as pictures:
        found = evaluated(model, exported, TASK, apply_chat_template=template)
    assert sum(pictures) == LIMIT  # not LIMIT * CLASSES
    ours = lines_of_test(filed(name))
    for sample in found["samples"][TASK]:
        line = ours[sample["doc"]["id"]]
        scores = [float(response[0][0]) for response in sample["resps"]]
        assert len(scores) == CLASSES
        np.testing.assert_allclose(scores, line["scores"], atol=1e-4)
        assert sample["acc"] == (line["predicted"] == line["label"])
    correct = sum(line["predicted"] == line["label"] for line in ours.values())
    assert found["results"][TASK]["acc,none"] == pytest.approx(correct / LIMIT, abs=1e-12)


def test_free_answers_are_ours(
    model: HarnessLM, name: str, exported: Path, filed: Callable[[str], Path]
) -> None:
    found = evaluated(model, exported, f"{TASK}_generate")
    ours = lines_of_test(filed(name))
    assert {s["doc"]["id"]: s["resps"][0][0] for s in found["samples"][f"{TASK}_generate"]} == {
        identifier: line["text"] for identifier, line in ours.items()
    }


def test_the_cache_of_lm_eval_keeps_what_was_asked(
    models: Mapping[str, Path], exported: Path, tmp_path: Path
) -> None:
    model = HarnessLM(str(models["random"]), device="cpu", batch_size=16)
    cached = {"use_cache": str(tmp_path / "cache"), "limit": 6}
    first = evaluated(model, exported, TASK, **cached)
    with counted(model) as pictures:
        second = evaluated(model, exported, TASK, **cached)
    assert pictures == []
    assert [s["resps"] for s in second["samples"][TASK]] == [
        [[list(answer[0])] if isinstance(answer[0], list) else answer for answer in s["resps"]]
        for s in first["samples"][TASK]
    ]


def test_what_cannot_be_asked_is_refused_by_name(models: Mapping[str, Path], exported: Path) -> None:
    model = HarnessLM(str(models["random"]), device="cpu")
    with pytest.raises(ModelError, match="one question in one turn"):
        evaluated(model, exported, TASK, limit=2, system_instruction="Be brief.")
    with pytest.raises(ModelError, match="phantom-200_generate, document 0: sampling"):
        evaluated(model, exported, f"{TASK}_generate", limit=2, gen_kwargs={"temperature": 0.7})
    with pytest.raises(ModelError, match="trained on each task's own images"):
        HarnessLM("reference/resnet", device="cpu")
    with pytest.raises(ModelError, match="name one"):
        HarnessLM("zoo")


def test_the_command_line_of_lm_eval_knows_the_name(exported: Path, tmp_path: Path) -> None:
    done = harness(
        *("run", "--model", "harness", "--model_args", "model=zoo/llava-healthy", "--device", "cpu"),
        *("--tasks", "mllm_harness", "--include_path", str(exported), "--limit", "8"),
        folder=tmp_path,
        module="harness.lm_eval",
    )
    assert f"|{TASK}|" in done.stdout.replace(" ", "")
