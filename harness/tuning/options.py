"""The options of `harness finetune`, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model_adapters.catalog.card import ModelCard
from model_adapters.finetune.settings import TuningSettings
from tasks.spec import TaskSpec


@dataclass(frozen=True)
class FinetuneOptions:
    """What the user asked for."""

    task: TaskSpec
    card: ModelCard
    output: Path
    settings: TuningSettings = field(default_factory=TuningSettings)
    limit_train: int | None = None  # images of the tuning half, stratified by class
    limit_validation: int = 500
    data_dir: Path | None = None
    device: str = "auto"
    model_args: Mapping[str, str] = field(default_factory=dict)
    offline: bool = False
    assume_yes: bool = False
    trust_remote_code: bool = False
    overwrite: bool = False
