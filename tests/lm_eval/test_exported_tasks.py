"""The real lm-eval runs the exported tasks on its own multimodal model, and gets what `harness eval` gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from tests.lm_eval.conftest import LIMIT, TASK, evaluated, lines_of_test

FREE, EXACT = f"{TASK}_generate", f"{TASK}_exact"


@pytest.fixture(scope="module", params=["trained", "random"])
def both(
    request: pytest.FixtureRequest,
    models: Mapping[str, Path],
    exported: Path,
    filed: Callable[[str], Path],
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What lm-eval's `hf-multimodal` answered, and our lines of the same images."""
    name = request.param
    arguments = {"pretrained": str(models[name]), "dtype": "float32"}
    found = evaluated(
        "hf-multimodal", exported, FREE, EXACT, model_args=arguments, batch_size=16, device="cpu"
    )
    return found, lines_of_test(filed(name))


def test_the_same_words_and_the_same_accuracy_image_by_image(both) -> None:
    found, ours = both
    theirs = {sample["doc"]["id"]: sample for sample in found["samples"][FREE]}
    assert theirs.keys() == ours.keys()
    assert len(ours) == LIMIT
    for identifier, line in ours.items():
        sample = theirs[identifier]
        assert sample["resps"] == [[line["text"]]]
        assert sample["acc"] == (line["generated_outcome"] == "correct")
        assert sample["no_answer"] == (line["generated_outcome"] == "no_answer")
    correct = sum(line["generated_outcome"] == "correct" for line in ours.values())
    assert found["results"][FREE]["acc,none"] == pytest.approx(correct / LIMIT, abs=1e-12)


def test_without_this_package_an_answer_must_be_the_wording(both) -> None:
    found, ours = both
    for sample in found["samples"][EXACT]:
        document = sample["doc"]
        said = ours[document["id"]]["text"].strip().lower().strip(".!?")
        assert sample["exact_match"] == (said == document["answer"])


def test_one_model_knows_the_task_and_the_other_says_nothing_readable(filed) -> None:
    # or the tests above would compare zeros
    outcomes = {
        name: [line["generated_outcome"] for line in lines_of_test(filed(name)).values()]
        for name in ("trained", "random")
    }
    assert LIMIT / 2 < outcomes["trained"].count("correct") < LIMIT
    assert outcomes["random"].count("no_answer") > LIMIT / 2
