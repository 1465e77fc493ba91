"""The options of `harness eval` and `harness.evaluate`, as one frozen value that holds nothing impossible."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from model_adapters.catalog.card import ModelCard

READOUTS = ("linear", "paper")
# What `engine` takes beside the engines of packages; the harness's others answer for one kind of card alone.
_ENGINES = ("auto", "transformers", "vllm", "openai")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?", re.ASCII)
# An absolute path in a word, alone, in a list, or behind `key=`; an address such as https://host/v1 is none.
_ABSOLUTE = re.compile(r"(?<![^=,:])(?:~|[A-Za-z]:)?[/\\](?![/\\])(?:[^,=/\\]*[/\\])*([^,=/\\]*)")


def known_readouts(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return readouts as they were named; ValueError where one is unknown, or none is named."""
    if not names or set(names) - set(READOUTS):
        raise ValueError(f"'{','.join(names)}' names no readout; there are {', '.join(READOUTS)}")
    return names


def known_engine(name: str) -> str:
    """Return `auto`, an engine for models that comes along, or one of a package; ValueError for any other."""
    if name not in _ENGINES:
        from model_adapters.catalog.packaged import packaged_engines

        known = (*_ENGINES, *packaged_engines())
        if name not in known:
            raise ValueError(f"'{name}' is no engine; there are {', '.join(known)}")
    return name


def known_device(name: str) -> str:
    """Return a device's name; ValueError where it is none. Whether it is there is found out where it is used."""
    if not _DEVICE.fullmatch(name):
        raise ValueError(f"'{name}' is no device; there are auto, cpu, cuda, cuda:1 and so on, mps")
    return name


def shareable(word: str) -> str:
    """Return a word of a command as it can be shown to others: of an absolute path only the last part."""
    return _ABSOLUTE.sub(r".../\1", word)


@dataclass(frozen=True, config=ConfigDict(coerce_numbers_to_str=True))
class EvalOptions:
    """What the user asked for, beside tasks and models.

    Raises:
        pydantic.ValidationError: an option cannot have that value.
    """

    output: Path = Path("results")
    data_dir: Path | None = None
    limit: Annotated[int, Field(ge=1)] | None = None  # test images
    readouts: Annotated[tuple[str, ...], AfterValidator(known_readouts)] = ("linear",)
    engine: Annotated[str, AfterValidator(known_engine)] = "auto"
    device: Annotated[str, AfterValidator(known_device)] = "auto"
    batch_size: Annotated[int, Field(ge=1)] | None = None  # None lets the engine choose
    seed: int = 0
    probe: bool = True
    floors: Literal["all", "task"] = "all"  # "task" leaves out what is asked of each model
    reference: ModelCard | None = None  # of the classifier that is R; None: the built-in one
    answer_target: bool = True  # one more pass over some images, on the letters prompt
    causal: bool = False  # change hidden states and see what the answers depend on; many passes
    max_train: Annotated[int, Field(ge=1)] | None = None
    probing_half: bool = False  # learn only from the half of train that a tuning leaves for probes
    model_args: Mapping[str, str] = field(default_factory=dict)
    offline: bool = False
    assume_yes: bool = False
    overwrite: bool = False
    trust_remote_code: bool = False
    command: str = ""
