"""Settings of the vLLM engine: what `--model-args` may hold, and what vLLM is started with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model_adapters.catalog.card import PROMPT_ARGUMENTS, ModelCard
from model_adapters.interface import ModelError

DEFAULT_LOGPROBS = 20  # of the most likely tokens, from a vLLM that cannot be asked for given ones

_QUANTISATIONS = {"bitsandbytes-4bit": "bitsandbytes"}


def _whole(value: str) -> int:
    number = int(value)
    if number < 1:
        raise ValueError
    return number


def _share(value: str) -> float:
    number = float(value)
    if not 0 < number <= 1:
        raise ValueError
    return number


def _yes(value: str) -> bool:
    return {"true": True, "false": False}[value.lower()]


# Arguments that vLLM gets under the same name, and how each is read.
_PASSED: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "tensor_parallel_size": (_whole, "a whole number of at least 1"),
    "data_parallel_size": (_whole, "a whole number of at least 1"),
    "max_model_len": (_whole, "a whole number of at least 1"),
    "gpu_memory_utilization": (_share, "a share between 0 and 1"),
    "enable_prefix_caching": (_yes, "true or false"),
    "enforce_eager": (_yes, "true or false"),
    "quantization": (str, "a method that vLLM knows"),
    "dtype": (str, "auto, float32, bfloat16 or float16"),
}
# Arguments that this engine itself reads.
_OWN: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "logprobs": (_whole, "a whole number of at least 1"),
    "structured_choice": (_yes, "true or false"),
    "revision": (str, "a commit, tag or branch"),
}
# Of those that are passed.
_WITHOUT_INFLUENCE = ("gpu_memory_utilization", "max_num_seqs")


@dataclass(frozen=True)
class VllmSettings:
    """What one model is run with.

    `passed` are vLLM's own arguments. `logprobs` is the number of most likely tokens to ask for instead of
    the labels' own, None where vLLM can be asked for those. With `structured_choice` the model's text is
    one of the labels.
    """

    passed: Mapping[str, Any]
    revision: str | None = None
    logprobs: int | None = None
    structured_choice: bool = False

    @property
    def influential(self) -> dict[str, Any]:
        """Return what can change an answer, by name: all but what decides on speed and memory alone."""
        passed = {key: value for key, value in self.passed.items() if key not in _WITHOUT_INFLUENCE}
        own = {"logprobs": self.logprobs, "structured_choice": self.structured_choice}
        return dict(sorted({**passed, **own}.items()))


def read_settings(
    card: ModelCard, arguments: Mapping[str, str], *, dtype: str | None, batch_size: int | None
) -> VllmSettings:
    """Read a model's settings from its card and the user's arguments, which come first.

    Raises:
        ModelError: an argument is unknown or has no meaning, or the card asks for what vLLM cannot do.
    """
    known = {**_PASSED, **_OWN}
    if unknown := sorted(set(arguments) - set(known) - set(PROMPT_ARGUMENTS)):
        names = ", ".join(sorted([*known, *PROMPT_ARGUMENTS]))
        raise ModelError(f"{card.name}: unknown model argument {unknown[0]!r}; the vllm engine has {names}")
    read = {
        name: _read(card, name, value, *known[name]) for name, value in arguments.items() if name in known
    }
    passed: dict[str, Any] = {"enable_prefix_caching": True, "dtype": dtype or card.dtype}
    if card.quantisation is not None and "quantization" not in read:
        passed["quantization"] = _quantisation(card)
    if batch_size is not None:
        passed["max_num_seqs"] = batch_size
    passed |= {name: value for name, value in read.items() if name in _PASSED and name != "dtype"}
    if dtype is None and "dtype" in read:
        passed["dtype"] = read["dtype"]
    if passed.get("data_parallel_size", 1) > 1:
        raise ModelError(
            f"{card.name}: vLLM runs data_parallel_size={passed['data_parallel_size']} as a server only; start "
            "`vllm serve MODEL --data-parallel-size N` and ask it through a card with an endpoint"
        )
    passed.pop("data_parallel_size", None)
    return VllmSettings(passed, **{name: value for name, value in read.items() if name in _OWN})


def _read(card: ModelCard, name: str, value: str, read: Callable[[str], Any], meaning: str) -> Any:
    try:
        return read(value)
    except (ValueError, KeyError) as error:
        raise ModelError(f"{card.name}: model argument {name}={value} is not {meaning}") from error


def _quantisation(card: ModelCard) -> str:
    method = _QUANTISATIONS.get(str(card.quantisation))
    if method is None:
        raise ModelError(
            f"{card.name}: vLLM has no {card.quantisation}; use --engine transformers, or "
            f"--model-args quantization={_QUANTISATIONS['bitsandbytes-4bit']} for 4 bits"
        )
    return method
