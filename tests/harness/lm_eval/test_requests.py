"""lm-eval's requests become queries: one a document, its options together, and nothing that cannot be asked."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.lm_eval.requests import Writing, by_writing, query_of, scored_together, writing_of
from model_adapters.interface import ModelError


@dataclass(frozen=True)
class Asked:
    """A request as lm-eval's `Instance` is one."""

    args: tuple[Any, ...]
    task_name: str | None = "lumps"
    doc_id: int | None = 0


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8))


def options(document: int, image: Image.Image, *labels: str, context: str = "<image>Which?") -> list[Asked]:
    return [Asked((context, label, {"visual": [image]}), doc_id=document) for label in labels]


def test_the_options_of_a_document_are_one_query_in_whatever_order_they_come() -> None:
    one, other = picture(1), picture(2)
    first, second = options(0, one, " soft", " hard", " none"), options(1, other, " soft", " hard", " none")
    requests = [first[2], second[0], first[0], second[1], first[1], second[2]]
    groups = scored_together(requests)
    assert [group.query.labels for group in groups] == [("none", "soft", "hard"), ("soft", "hard", "none")]
    assert [group.query.prompt for group in groups] == ["Which?", "Which?"]
    np.testing.assert_array_equal(np.asarray(groups[0].query.image), np.asarray(one))
    # every request gets the score of its own continuation
    answered = {index: group.query.labels[label] for group in groups for index, label in group.answers}
    assert [answered[index] for index in range(6)] == [request.args[1].strip() for request in requests]


def test_other_documents_other_words_and_other_pixels_are_other_queries() -> None:
    one = picture(1)
    requests = [
        *options(0, one, "a", "b"),
        *options(0, one, "a", "b", context="<image>What?"),
        *options(0, picture(2), "a", "b"),
        *options(1, one, "a", "b c"),
    ]
    assert len(scored_together(requests)) == 4
    assert len(scored_together([*options(0, one, "a"), *options(0, one.copy(), "b")])) == 1


def test_the_same_continuation_twice_is_scored_once() -> None:
    (group,) = scored_together(options(0, picture(1), " a", " b", "a"))
    assert group.query.labels == ("a", "b")
    assert group.answers == ((0, 0), (1, 1), (2, 0))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("Which?", "a"), "0 pictures"),
        (("Which?", "a", {"visual": [picture(1), picture(2)]}), "2 pictures"),
        (("First <image> then?", "a", {"visual": [picture(1)]}), "inside the context"),
        (("<image>", "a", {"visual": [picture(1)]}), "without words"),
        (("<image>Which?", " ", {"visual": [picture(1)]}), "continuation is empty"),
        (("<image>Which?", "a", {"visual": [picture(1)]}), "one continuation alone"),
    ],
)
def test_what_the_engines_cannot_ask_is_refused_by_document(args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ModelError, match=f"lumps, document 7: .*{message}"):
        scored_together([Asked(args, doc_id=7)])


def test_writing_is_greedy_and_stops_where_it_is_told() -> None:
    image = {"visual": [picture(1)]}
    settings = {"until": ["\n\n", "."], "max_gen_toks": 5, "do_sample": False, "temperature": 0.0}
    request = Asked(("<image>Which?", settings, image))
    assert writing_of(request) == Writing(5, ("\n\n", "."))
    assert writing_of(request).cut("soft. hard\n\nnone") == "soft"
    assert query_of(request).labels == ()
    assert writing_of(Asked(("<image>Which?", {"until": "x"}, image))) == Writing(256, ("x",))
    assert writing_of(Asked(("<image>Which?", {"until": []}, image))).cut("as it is") == "as it is"
    longer = Asked(("<image>Which?", {**settings, "max_gen_toks": 6}, image))
    assert [indices for _, indices in by_writing([request, longer, request])] == [[0, 2], [1]]


@pytest.mark.parametrize("settings", [{"do_sample": True}, {"temperature": 0.2}, {"num_beams": 4}])
def test_any_other_writing_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="write greedily"):
        writing_of(Asked(("<image>Which?", settings, {"visual": [picture(1)]})))


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="lm-eval is installed")
def test_without_lm_eval_the_error_names_what_installs_it() -> None:
    import harness.lm_eval

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'mllm-harness\[lm-eval\]'"):
        _ = harness.lm_eval.HarnessLM
