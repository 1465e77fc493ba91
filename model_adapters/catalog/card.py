"""The schema of a model card: where the weights are, how to ask, what may be run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from model_adapters.interface import ModelError
from tasks.document import Node, checked, load_checked

Group = Literal["zoo", "zoo-faults", "paper", "bases", "medical", "reference"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantisation = Literal["bitsandbytes-8bit", "bitsandbytes-4bit"]  # AWQ and GPTQ are in the weights themselves
GROUPS: tuple[Group, ...] = ("zoo", "zoo-faults", "paper", "bases", "medical", "reference")
# Model arguments that every engine which reads prompts takes: keys of `prompt` on a card.
PROMPT_ARGUMENTS = ("system", "answer_prefix", "label_prefix")


def _in_parts(pattern: str) -> AfterValidator:
    """Accept a name that matches the pattern as a whole."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(
                f"{value!r}; it may have letters, digits, '.', '-', '_', in parts divided by '/'"
            )
        return value

    return AfterValidator(check)


_PART = r"[A-Za-z0-9][\w.\-]*"
Name = Annotated[str, Field(max_length=200), _in_parts(f"{_PART}(/{_PART})*")]
HubId = Annotated[str, _in_parts(f"{_PART}(/{_PART})?")]


class StrictModel(BaseModel):
    """Frozen content of a file, in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PromptSettings(StrictModel):
    """How a question is put to the model, beside the task's own words."""

    system: str | None = None  # a system turn before the question
    answer_prefix: str = ""  # text that begins the model's turn, such as "<answer>"
    label_prefix: str | None = None  # what stands between prompt and label; None: a space where one is due
    chat_template: str | None = None  # Jinja, for a model that ships none


class ModulePaths(StrictModel):
    """Where parts are in a model whose accessors do not show them: names as `named_modules` has them.

    `vision` and `decoder` name the list of blocks itself, `connector` and `final_norm` the module.
    """

    vision: str | None = Field(default=None, min_length=1)
    connector: str | None = Field(default=None, min_length=1)
    decoder: str | None = Field(default=None, min_length=1)
    final_norm: str | None = Field(default=None, min_length=1)


class ExpectedAnatomy(StrictModel):
    """What the published model has; the loaded one is compared with it, and must not differ.

    `image_tokens` counts the tokens of an image where that number is fixed, `pixels_per_image_token` the
    pixels of the resized image that one token stands for where it is not. `paths` overrides what is found.
    """

    vision_blocks: int | None = None
    vision_width: int | None = None
    llm_blocks: int | None = None
    llm_width: int | None = None
    consumed_layer: int | None = None
    image_token: str | None = Field(default=None, min_length=1)
    image_tokens: int | None = Field(default=None, ge=1)
    pixels_per_image_token: int | None = Field(default=None, ge=1)
    paths: ModulePaths = ModulePaths()


class GenerationSettings(StrictModel):
    """How free text is written, always greedily; label scores never see any of it."""

    repetition_penalty: float = Field(default=1.0, gt=0)


class Endpoint(StrictModel):
    """An OpenAI-compatible server. Prices are in `currency` for a million tokens."""

    base_url: str = Field(pattern=r"^https?://")  # up to and with /v1
    model: str = Field(min_length=1)  # as the server calls it
    api_key_env: str | None = None  # the environment variable that holds the key; the key itself never enters
    timeout_seconds: float = Field(default=60.0, gt=0)
    attempts: int = Field(default=5, ge=1)  # of a request that fails, the first one counted
    concurrency: int = Field(default=8, ge=1)
    input_price: float | None = Field(default=None, ge=0)
    output_price: float | None = Field(default=None, ge=0)
    currency: str = "USD"


class ClassifierSettings(StrictModel):
    """An image classifier that is trained on a task's own images before it is asked.

    `kind` is the library's name of the architecture (`model_type`), `configuration` what its configuration
    class is given for training from scratch; `pretrained` a hub id or folder to start from instead (one that
    begins with `./`, `../` or `~` starts at the card's folder).
    """

    kind: str
    family: Literal["cnn", "mlp", "transformer", "hybrid"]
    pretrained: str | None = None
    image_size: int = Field(default=64, ge=16)  # side in pixels
    configuration: dict[str, Any] = {}


class PlantedFault(StrictModel):
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


class ModelCard(StrictModel):
    """One model. Either `hub_id` or `path` says where it is.

    A relative `path` starts at the card's folder, one that begins with `package:` at the folder of
    the `model_adapters` package. A model that only a server has names its `endpoint` instead, a classifier
    that is trained here its `classifier` settings.

    `unverified` lists keys whose values were not seen in a source, as "anatomy.llm_blocks": where the loaded
    model differs there, it is right and the card is reported. `trained_on` names the tasks whose images the
    model saw in training, as far as is known.
    """

    name: Name
    title: str = ""
    hub_id: HubId | None = None
    path: str | None = None
    revision: str | None = None  # hub commit, tag or branch
    architecture: str | None = None
    engine: str = "transformers"
    dtype: Dtype = "auto"
    groups: tuple[Group, ...] = ()
    trust_remote_code: bool = False  # the model runs code of its own: asks for --trust-remote-code
    gated: bool = False
    licence: str | None = None
    memory_gb: float | None = Field(default=None, gt=0)
    prompt: PromptSettings = PromptSettings()
    headline: Literal["scores", "generated"] = "scores"
    max_new_tokens: int | None = Field(default=None, ge=1)
    processor: dict[str, Any] = {}  # arguments of the processor, such as min_pixels
    attn_implementation: str | None = None
    quantisation: Quantisation | None = None
    generation: GenerationSettings = GenerationSettings()
    endpoint: Endpoint | None = None
    classifier: ClassifierSettings | None = None
    requires: tuple[str, ...] = ()  # versions that the model's own code pins, as "transformers<5"
    anatomy: ExpectedAnatomy = ExpectedAnatomy()
    unverified: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()
    base: str | None = None  # name of the card of the general model that this one was tuned from
    adapter: str | None = (
        None  # folder of a low-rank adapter that `harness finetune` or peft wrote; see `path`
    )
    citation: str | None = None
    fault: PlantedFault | None = None
    notes: str = ""

    @property
    def condition(self) -> Literal["released", "lora"]:
        """In which state the model answers: as it was released, or tuned by an adapter."""
        return "released" if self.adapter is None else "lora"

    @model_validator(mode="after")
    def _has_one_place(self) -> ModelCard:
        given = [self.hub_id, self.path, self.endpoint, self.classifier]
        if sum(place is not None for place in given) != 1:
            raise ValueError("exactly one of hub_id, path, endpoint and classifier must be given")
        if self.adapter is not None and self.hub_id is None and self.path is None:
            raise ValueError("an adapter needs the weights that it was tuned from: hub_id or path")
        needed = "openai" if self.endpoint else "image_classifier" if self.classifier else None
        if needed is not None and self.engine != needed:
            key = "endpoint" if self.endpoint else "classifier"
            raise ValueError(f"a card with {key} needs engine: {needed}, not {self.engine}")
        return self

    @field_validator("processor")
    @classmethod
    def _are_settings(cls, values: dict[str, Any]) -> dict[str, Any]:
        for key in ("trust_remote_code", "local_files_only", "revision"):
            if key in values:
                raise ValueError(f"{key!r} is no setting of a processor; it is decided for the whole model")
        return values

    @field_validator("requires")
    @classmethod
    def _are_requirements(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        from packaging.requirements import InvalidRequirement, Requirement

        for value in values:
            try:
                Requirement(value)
            except InvalidRequirement as error:
                raise ValueError(f"{value!r} is no requirement such as 'transformers<5'") from error
        return values

    @field_validator("unverified")
    @classmethod
    def _are_keys(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        parts: dict[str, type[BaseModel]] = {
            "anatomy": ExpectedAnatomy,
            "prompt": PromptSettings,
            "generation": GenerationSettings,
        }
        for value in values:
            first, _, rest = value.partition(".")
            fields = parts[first].model_fields if rest and first in parts else cls.model_fields
            if (rest or first) not in fields:
                raise ValueError(f"{value!r} is no key of a card")
        return values


def load_card(path: Path) -> ModelCard:
    """Read a card from a YAML file; a relative path in it becomes an absolute one.

    Raises:
        ModelError: the file cannot be read, is no YAML mapping, or a key is unknown or wrong.
    """
    return load_checked(path, ModelCard, ModelError, edit=partial(_find_beside, path))


def _find_beside(card: Path, content: dict[str, Any]) -> None:
    """Make every relative path of a card's content absolute."""
    for key in ("path", "adapter"):
        place = content.get(key)
        if isinstance(place, str) and not place.startswith("package:"):
            content[key] = _beside(card, place)
    if isinstance(classifier := content.get("classifier"), dict):
        start = classifier.get("pretrained")
        if isinstance(start, str) and start.startswith(("./", "../", "~")):  # else a hub id, or absolute
            classifier["pretrained"] = _beside(card, start)


def _beside(card: Path, place: str) -> str:
    """Return a place that a card names as an absolute path; a relative one starts at the card's folder."""
    return str((card.parent / Path(place).expanduser()).resolve())


def make_card(content: dict[str, Any], where: str) -> ModelCard:
    """Check a card's content; `where` begins the message of an error.

    Raises:
        ModelError: naming every key that is unknown or wrong.
    """
    return checked(content, Node(None, where, None), ModelCard, ModelError)


def with_prompt(card: ModelCard, arguments: Mapping[str, str]) -> ModelCard:
    """Return a card whose prompt settings are those that model arguments hold, where they hold any."""
    prompt = {key: arguments[key] for key in PROMPT_ARGUMENTS if key in arguments}
    return card.model_copy(update={"prompt": card.prompt.model_copy(update=prompt)})


def compare_with_card(card: ModelCard, measured: Mapping[str, int | str | None]) -> tuple[str, ...]:
    """Compare what a loaded model has with the card's `anatomy`, by its keys.

    Returns a remark for each fact that the card marks as unverified and that turned out otherwise. What the
    card does not state, or could not be measured (None), is not compared.

    Raises:
        ModelError: a fact that the card is sure of is wrong, so this may be another model.
    """
    remarks = []
    for key, found in measured.items():
        stated = getattr(card.anatomy, key)
        if stated is None or found is None or stated == found:
            continue
        message = f"the card says anatomy.{key} {stated}, the loaded model has {found}"
        if f"anatomy.{key}" not in card.unverified:
            raise ModelError(f"{card.name}: {message}")
        remarks.append(
            f"{message}: unverified on the card, so the model is believed; please correct the card"
        )
    return tuple(remarks)
