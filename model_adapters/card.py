"""The schema of a model card: where the weights are, how to ask, what may be run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_adapters.interface import ModelError

Group = Literal["zoo", "zoo-faults", "paper", "bases", "medical", "reference"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
GROUPS: tuple[Group, ...] = ("zoo", "zoo-faults", "paper", "bases", "medical", "reference")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PromptSettings(_Strict):
    """How a question is put to the model, beside the task's own words."""

    system: str | None = None  # a system turn before the question
    answer_prefix: str = ""  # text that begins the model's turn, such as "<answer>"
    label_prefix: str | None = None  # what stands between prompt and label; None: a space where one is due
    chat_template: str | None = None  # Jinja, for a model that ships none


class ExpectedAnatomy(_Strict):
    """What the published model has; `harness models check` compares the loaded one with it."""

    vision_blocks: int | None = None
    llm_blocks: int | None = None
    consumed_layer: int | None = None
    image_token: str | None = None


class PlantedFault(_Strict):
    """What is wrong with a built-in model on purpose, and the verdict that is right about it.

    `drop` is what its answers lost, in points of balanced accuracy, on images of its training material.
    """

    name: str
    degree: Literal["strong", "mild"]
    expected: tuple[str, ...]  # any of these verdicts is right
    details: tuple[str, ...] = ()
    adapted: bool = True  # False: an interface mismatch, by which no verdict is judged
    severity: float
    unit: str
    drop: float
    recipe: str  # a hash of everything that the model was made from


class ModelCard(_Strict):
    """One model. Either `hub_id` or `path` says where it is.

    A relative `path` starts at the card's folder, one that begins with `package:` at the folder of
    the `model_adapters` package.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)*$")
    title: str = ""
    hub_id: str | None = None
    path: str | None = None
    revision: str | None = None  # hub commit, tag or branch
    architecture: str | None = None
    engine: str = "transformers"
    dtype: Dtype = "auto"
    groups: tuple[Group, ...] = ()
    trust_remote_code: bool = False  # the model runs code of its own: asks for --trust-remote-code
    gated: bool = False
    licence: str | None = None
    memory_gb: float | None = None
    prompt: PromptSettings = PromptSettings()
    headline: Literal["scores", "generated"] = "scores"
    max_new_tokens: int | None = Field(default=None, ge=1)
    processor: dict[str, Any] = {}  # arguments of the processor, such as min_pixels
    attn_implementation: str | None = None
    anatomy: ExpectedAnatomy = ExpectedAnatomy()
    base: str | None = None  # name of the card of the general model that this one was tuned from
    citation: str | None = None
    fault: PlantedFault | None = None
    notes: str = ""

    @model_validator(mode="after")
    def _has_one_place(self) -> ModelCard:
        if (self.hub_id is None) == (self.path is None):
            raise ValueError("exactly one of hub_id and path must be given")
        return self


def load_card(path: Path) -> ModelCard:
    """Read a card from a YAML file; a relative path in it becomes an absolute one.

    Raises:
        ModelError: the file cannot be read, is no YAML mapping, or a key is unknown or wrong.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: a model card is a mapping of keys to values")
    place = content.get("path")
    if isinstance(place, str) and not place.startswith("package:"):
        content["path"] = str((path.parent / Path(place).expanduser()).resolve())
    return make_card(content, str(path))


def make_card(content: dict[str, Any], where: str) -> ModelCard:
    """Check a card's content; `where` begins the message of an error.

    Raises:
        ModelError: naming the first key that is unknown or wrong.
    """
    try:
        return ModelCard.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(ModelCard.model_fields))
            raise ModelError(f"{where}: unknown key {key!r}; a card has {known}") from error
        reason = first["msg"].removeprefix("Value error, ")
        raise ModelError(f"{where}: {f'key {key!r}: ' if key else ''}{reason}") from error
