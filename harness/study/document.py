"""The schema of a study's YAML: which models, tasks and conditions, and how they are tuned and evaluated."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from leaderboard.record.record import Condition
from model_adapters.finetune.settings import TuningSettings
from model_adapters.interface import ModelError
from tasks.document import load_checked

_SETTINGS = {field.name for field in fields(TuningSettings)} - {"part", "method", "seed"}


class StudyError(Exception):
    """A study's document is wrong, or its folder cannot be used; the message says where and what to do."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EvaluationSettings(_Strict):
    """What `harness eval` is told, cell by cell; see its options of the same names."""

    engine: Literal["auto", "transformers", "vllm"] = "auto"
    floors: Literal["all", "task"] = "all"
    answer_target: bool = True
    causal: bool = False
    probe: bool = True
    limit: int | None = Field(default=None, ge=1)
    max_train: int | None = Field(default=None, ge=1)


class FinetuningSettings(_Strict):
    """What `harness finetune` is told: settings by the names that `TuningSettings` gives them, and sizes."""

    settings: dict[str, Any] = {}
    by_model: dict[str, dict[str, Any]] = {}  # further settings of single models, by name
    limit_train: int | None = Field(default=None, ge=1)
    limit_validation: int = Field(default=500, ge=1)

    @model_validator(mode="after")
    def _settings_exist(self) -> FinetuningSettings:
        for where, given in (("settings", self.settings), *self.by_model.items()):
            unknown = sorted(given.keys() - _SETTINGS)
            if unknown:
                raise ValueError(
                    f"{where}: no setting {unknown[0]!r}; there are {', '.join(sorted(_SETTINGS))}"
                )
        return self

    def of(self, model: str, seed: int) -> TuningSettings:
        """Return the settings for a model.

        Raises:
            StudyError: a value means nothing.
        """
        given = {**self.settings, **self.by_model.get(model, {}), "seed": seed}
        if "targets" in given:
            given["targets"] = tuple(given["targets"])
        try:
            return TuningSettings(**given)
        except (ModelError, TypeError) as error:
            raise StudyError(f"finetuning of {model}: {error}") from error


class Pair(_Strict):
    """A model that is compared with another one that it comes from."""

    model: str
    base: str


class Study(_Strict):
    """A grid of models, tasks and conditions.

    `models`, `references` and `tasks` are what `harness eval` takes: names, globs, groups, files. References
    are classifiers and have no condition but "released"; models are compared with the first of them. `pairs`
    are compared beside those that the cards name by `base`. `same_probing_half` lets the probes of released
    models learn from the half of train that those of the tuned ones have, so that their layers compare.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.\-]*$", max_length=100)
    title: str
    description: str = ""
    models: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    references: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = Field(default=("released",), min_length=1)
    readouts: tuple[Literal["linear", "paper"], ...] = Field(default=("linear",), min_length=1)
    pairs: tuple[Pair, ...] = ()
    same_probing_half: bool = True
    seed: int = Field(default=0, ge=0)
    evaluation: EvaluationSettings = EvaluationSettings()
    finetuning: FinetuningSettings = FinetuningSettings()

    @field_validator("models", "tasks", "references", "conditions", "readouts")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = [item for place, item in enumerate(value) if item in value[:place]]
        if twice:
            raise ValueError(f"{twice[0]!r} stands there twice")
        return value

    @property
    def halved(self) -> bool:
        """Whether released models learn their probes from the probing half."""
        return self.same_probing_half and "lora" in self.conditions


def load_study(path: Path) -> Study:
    """Read and check a study's YAML.

    Raises:
        StudyError: it is missing, no YAML, or breaks the schema; the message names the line and the key.
    """
    return load_checked(path, Study, StudyError)
