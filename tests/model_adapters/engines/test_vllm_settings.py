"""What the vLLM engine refuses before it is started, and how it sums: no vLLM is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from model_adapters.catalog.card import ModelCard, with_prompt
from model_adapters.catalog.registry import load_engine
from model_adapters.engines.vllm.requests import label_scores
from model_adapters.engines.vllm.settings import read_settings
from model_adapters.interface import ModelError
from model_adapters.support.label_tokens import branchings

CARD = ModelCard(name="tiny", path="/nowhere")


def read(card: ModelCard = CARD, **arguments: str):
    return read_settings(card, arguments, dtype=None, batch_size=None)


def test_without_vllm_the_way_out_is_named():
    try:
        import vllm  # noqa: F401
    except ImportError:
        with pytest.raises(
            ModelError, match=r"^tiny: vLLM is not installed; pip install 'mllm-harness\[vllm\]'$"
        ):
            load_engine(CARD, engine="vllm")
    else:
        pytest.skip("vLLM is installed")


def test_arguments_reach_vllm_as_numbers_and_truths():
    settings = read(
        tensor_parallel_size="2",
        gpu_memory_utilization="0.5",
        enable_prefix_caching="false",
        max_model_len="4096",
        quantization="awq",
        dtype="bfloat16",
        logprobs="50",
        revision="v1",
        system="Be brief.",
    )
    assert settings.passed == {
        "tensor_parallel_size": 2,
        "gpu_memory_utilization": 0.5,
        "enable_prefix_caching": False,
        "max_model_len": 4096,
        "quantization": "awq",
        "dtype": "bfloat16",
    }
    assert (settings.logprobs, settings.revision, settings.structured_choice) == (50, "v1", False)
    assert with_prompt(CARD, {"system": "Be brief."}).prompt.system == "Be brief."


def test_the_users_word_comes_before_the_cards():
    card = CARD.model_copy(update={"dtype": "float16", "quantisation": "bitsandbytes-4bit"})
    assert read(card).passed["dtype"] == "float16"
    assert read(card).passed["quantization"] == "bitsandbytes"
    assert read(card, quantization="fp8").passed["quantization"] == "fp8"
    asked = read_settings(card, {"dtype": "float32"}, dtype="bfloat16", batch_size=4)
    assert (asked.passed["dtype"], asked.passed["max_num_seqs"]) == ("bfloat16", 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": "1"}, r"unknown model argument 'temperature'; the vllm engine has answer_prefix, "),
        ({"tensor_parallel_size": "0"}, "tensor_parallel_size=0 is not a whole number of at least 1"),
        ({"gpu_memory_utilization": "90"}, "gpu_memory_utilization=90 is not a share between 0 and 1"),
        ({"enforce_eager": "yes"}, "enforce_eager=yes is not true or false"),
        ({"data_parallel_size": "2"}, "vllm serve MODEL --data-parallel-size N"),
    ],
)
def test_what_has_no_meaning_is_refused(arguments, message):
    with pytest.raises(ModelError, match=message):
        read(**arguments)


def test_memory_and_batches_change_no_answer():
    plain = read_settings(CARD, {}, dtype=None, batch_size=None)
    spare = read_settings(CARD, {"gpu_memory_utilization": "0.3"}, dtype=None, batch_size=4)
    assert spare.passed != plain.passed
    assert spare.influential == plain.influential
    assert (
        read_settings(CARD, {"logprobs": "5"}, dtype=None, batch_size=None).influential != plain.influential
    )


def test_eight_bits_are_not_vllms():
    card = CARD.model_copy(update={"quantisation": "bitsandbytes-8bit"})
    with pytest.raises(ModelError, match="vLLM has no bitsandbytes-8bit; use --engine transformers"):
        read(card)


def test_every_place_where_a_label_goes_on_is_asked_once():
    labels = [(1, 2, 9), (1, 2, 3, 9), (4, 9), (1, 5, 9)]
    assert branchings(labels) == {
        (): (1, 4),
        (1,): (2, 5),
        (4,): (9,),
        (1, 2): (3, 9),
        (1, 5): (9,),
        (1, 2, 3): (9,),
    }
    values = {
        place: {t: -(0.5 + t + 10 * len(place)) for t in on} for place, on in branchings(labels).items()
    }
    scores = label_scores(labels, values)
    for tokens, raw, normalised in zip(labels, scores.raw, scores.normalised, strict=True):
        plain = sum(-(0.5 + token + 10 * i) for i, token in enumerate(tokens))
        assert raw == pytest.approx(plain)
        assert normalised == pytest.approx(plain / len(tokens))


def test_no_sum_is_made_up():
    scores = label_scores([(1,), (2, 3)], {(): {1: -1.0, 2: -2.0}, (2,): {7: -0.1}})
    assert scores.raw == scores.normalised == ()
    assert "no log-probability for token 3, number 2 of a label" in str(scores.error)
    assert "not finite" in str(label_scores([(1,), (2,)], {(): {1: -1.0, 2: -float("inf")}}).error)


def test_importing_the_engine_imports_no_library():
    heavy = "torch", "transformers", "vllm"
    loaded = f"sys.exit(any(name in sys.modules for name in {heavy!r}))"
    code = f"import sys, model_adapters.engines.vllm.engine; {loaded}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
