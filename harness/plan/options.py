"""The options of `harness eval`, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from model_adapters.catalog.card import ModelCard


@dataclass(frozen=True)
class EvalOptions:
    """What the user asked for, beside tasks and models."""

    output: Path = Path("results")
    data_dir: Path | None = None
    limit: int | None = None  # test images
    readouts: tuple[str, ...] = ("linear",)
    engine: str = "auto"
    device: str = "auto"
    batch_size: int | None = None  # None lets the engine choose
    seed: int = 0
    probe: bool = True
    floors: Literal["all", "task"] = "all"  # "task" leaves out what is asked of each model
    reference: ModelCard | None = None  # of the classifier that is R; None: the built-in one
    answer_target: bool = True  # one more pass over some images, on the letters prompt
    causal: bool = False  # change hidden states and see what the answers depend on; many passes
    max_train: int | None = None
    probing_half: bool = False  # learn only from the half of train that a tuning leaves for probes
    model_args: Mapping[str, str] = field(default_factory=dict)
    offline: bool = False
    assume_yes: bool = False
    overwrite: bool = False
    trust_remote_code: bool = False
    command: str = ""
