"""The schema of a model card: where the weights are, how to ask, what may be run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from model_adapters.interface import ModelError

Group = Literal["zoo", "zoo-faults", "paper", "bases", "medical", "reference"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantisation = Literal["bitsandbytes-8bit", "bitsandbytes-4bit"]  # AWQ and GPTQ are in the weights themselves
GROUPS: tuple[Group, ...] = ("zoo", "zoo-faults", "paper", "bases", "medical", "reference")
# Model arguments that every engine which reads prompts takes: keys of `prompt` on a card.
PROMPT_ARGUMENTS = ("system", "answer_prefix", "label_prefix")

# The parser in C reads the same YAML some eight times as fast, where PyYAML was built with it.
_YAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)*$", max_length=200)
    title: str = ""
    hub_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)?$")
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
    try:
        content = _read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: a model card is a mapping of keys to values")
    for key in ("path", "adapter"):
        place = content.get(key)
        if isinstance(place, str) and not place.startswith("package:"):
            content[key] = _beside(path, place)
    if isinstance(classifier := content.get("classifier"), dict):
        start = classifier.get("pretrained")
        if isinstance(start, str) and start.startswith(("./", "../", "~")):  # else a hub id, or absolute
            content["classifier"] = {**classifier, "pretrained": _beside(path, start)}
    return make_card(content, str(path))


def _beside(card: Path, place: str) -> str:
    """Return a place that a card names as an absolute path; a relative one starts at the card's folder."""
    return str((card.parent / Path(place).expanduser()).resolve())


def _read_yaml(text: str) -> Any:
    """Read one YAML document in which no key stands twice and nothing is said by reference."""
    loader = _YAML(text)
    try:
        root = loader.get_single_node()
        _refuse_ambiguous(root)
        return loader.construct_document(root) if root is not None else None
    finally:
        loader.dispose()


def _refuse_ambiguous(root: yaml.Node | None) -> None:
    seen: set[int] = set()
    waiting = [root] if root is not None else []
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            raise yaml.MarkedYAMLError(problem="an alias; write it out", problem_mark=node.start_mark)
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            for position, (key, _) in enumerate(node.value):
                if key.value in keys[:position]:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                    )
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


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
            part = key.rpartition(".")[0]
            known = ", ".join(sorted(_keys(part) if part else ModelCard.model_fields))
            raise ModelError(f"{where}: unknown key {key!r}; {part or 'a card'} has {known}") from error
        reason = _REASONS.get(first["type"], first["msg"]).removeprefix("Value error, ")
        if first["type"] == "string_pattern_mismatch" and key in ("name", "hub_id"):
            reason = (
                f"{first['input']!r}; it may have letters, digits, '.', '-', '_', in parts divided by '/'"
            )
        raise ModelError(f"{where}: {f'key {key!r}: ' if key else ''}{reason}") from error


# Words for what pydantic says about Python, in a file that is YAML.
_REASONS = {"tuple_type": "must be a list, such as [a, b]", "missing": "must be given"}


def _keys(part: str) -> set[str]:
    """Return the keys of a part of a card, such as "anatomy.paths"."""
    model: Any = ModelCard
    for name in part.split("."):
        found = model.model_fields[name].annotation
        model = next((kind for kind in (*get_args(found), found) if hasattr(kind, "model_fields")), model)
    return set(model.model_fields)


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
