"""The schema of a task: classes, prompts, data source, splits, licence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    Strict,
    StrictBool,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from tasks import rules
from tasks.problems import DocumentError

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


class TaskError(DocumentError):
    """A task is unknown or its YAML is wrong; the message names file, line and key, one problem a line."""


def _form(pattern: str, wanted: str) -> AfterValidator:
    """Accept the strings that match `pattern` as a whole; say what is `wanted` of the others."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"`{value}`: must be {wanted}")
        return value

    return AfterValidator(check)


def _relative_path(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts or re.search(r"[\\:]", value):
        raise ValueError(f"`{value}`: must be a relative path with forward slashes and without `..`")
    return value


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Words = Annotated[
    str, _form(r"[^\s{}]|[^\s{}][^\n{}]*[^\s{}]", "words on one line, without braces or outer spaces")
]
Identifier = Annotated[str, _form(r"[a-z0-9][a-z0-9_-]*", "lower-case letters, digits, `_` and `-`")]
RelativePath = Annotated[str, AfterValidator(_relative_path)]
Url = Annotated[str, _form(r"https://\S+", "an https:// address")]
Md5 = Annotated[str, _form(r"[0-9a-f]{32}", "32 lower-case hexadecimal digits")]
Sha256 = Annotated[str, _form(r"[0-9a-f]{64}", "64 lower-case hexadecimal digits")]
Repository = Annotated[
    str,
    _form(
        r"(?!.*(\.\.|--))[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*", "owner/name, as on the hub"
    ),
]
Revision = Annotated[
    str, _form(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*", "a commit, a branch or a tag")
]
Column = Annotated[str, _form(r"\S|\S[^\n]*\S", "the name of a column")]
HubSplit = Annotated[str, _form(r"\w+(\.\w+)*", "the name of a split, without a slice")]
Index = Annotated[NonNegativeInt, Strict()]
Count = Annotated[PositiveInt, Strict()]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassSpec(_Strict):
    """One class: its label in the data, and the words with which a model names it."""

    name: Words
    wording: Words
    aliases: tuple[Words, ...] = ()  # other wordings that are read as this class in free text


class PromptSpec(_Strict):
    """One way to ask. A `label` prompt lists `{classes}`, a `letters` prompt shuffled `{options}`."""

    id: Identifier
    kind: Literal["label", "letters"]
    template: Text

    @model_validator(mode="after")
    def _check(self) -> PromptSpec:
        _refuse("PromptSpec", rules.placeholder_findings(self))
        return self


class SplitSource(_Strict):
    """Where one split comes from; which keys apply is up to the source's layout."""

    images: str | None = None  # npz: array of images
    labels: str | None = None  # npz: array of labels
    folder: RelativePath | None = None  # image folder: subfolder of the split, else named as the split
    first: Index | None = None  # phantom: index of the first image
    count: Count | None = None  # phantom: number of images
    split: HubSplit | None = None  # hub: name of the split in the repository


Splits = dict[SplitName, SplitSource]


class NpzSource(_Strict):
    """A MedMNIST-style npz file, whose integer labels are indices into the classes."""

    layout: Literal["npz"]
    file: RelativePath  # below a data directory
    url: Url | None = None
    md5: Md5 | None = None  # of the published file
    size_bytes: Count | None = None  # of the download
    published_counts: dict[SplitName, Count] | None = None  # images of each split in the published file
    splits: Splits

    @field_validator("splits")
    @classmethod
    def _check(cls, splits: Splits) -> Splits:
        findings = [*rules.split_key_findings(splits, "npz", required=("images", "labels"))]
        _refuse("NpzSource", [*findings, *rules.shared_array_findings(splits)])
        return splits


class FolderSource(_Strict):
    """Image files in folders, in one of the accepted layouts, tried in order.

    A manifest or the file list names each image's split itself; elsewhere the split's folder decides.
    """

    layout: Literal["folder"]
    directory: RelativePath  # name of the data set's folder below a data directory
    accepted: Annotated[
        tuple[Literal["manifest", "image_folder", "busi", "covid_ct", "kermany"], ...], Field(min_length=1)
    ]
    url: Url | None = None  # where a person can get it
    size_bytes: Count | None = None  # of what a person has to get
    published_counts: dict[SplitName, Count] | None = None  # images of each split in the published data
    file_list: RelativePath | None = None  # CSV in tasks/lists, read by `tasks.file_list`
    class_folders: dict[str, RelativePath] = {}  # class name -> folder name, where they differ
    group_column: str | None = None
    splits: Splits

    @field_validator("splits")
    @classmethod
    def _check(cls, splits: Splits) -> Splits:
        findings = [*rules.split_key_findings(splits, "folder", optional=("folder",))]
        _refuse("FolderSource", [*findings, *rules.nested_folder_findings(splits)])
        return splits


class PhantomSource(_Strict):
    """Images drawn by `harness.data.phantom`; nothing to download."""

    layout: Literal["phantom"]
    generator_version: Count
    size: Annotated[int, Strict(), Field(ge=16)]  # side of the square images in pixels
    fingerprint: str | None = None  # of the whole set, where it is known
    splits: Splits

    @field_validator("splits")
    @classmethod
    def _check(cls, splits: Splits) -> Splits:
        findings = [*rules.split_key_findings(splits, "phantom", required=("first", "count"))]
        _refuse("PhantomSource", [*findings, *rules.overlapping_range_findings(splits)])
        return splits


class HubSource(_Strict):
    """A data set of the Hugging Face hub, in Parquet files or an image folder; no code of it ever runs.

    Labels are indices into the classes, or the classes' names. Only a full commit says which data these are: a
    branch or tag can move, so its data are never official, and a fingerprint beside it is refused.
    """

    layout: Literal["hub"]
    repository: Repository
    revision: Revision  # 40 hexadecimal digits, or a branch or tag
    configuration: Column | None = None  # needed where the repository has several
    image_column: Column = "image"
    label_column: Column = "label"
    group_column: Column | None = None  # patient id
    id_column: Column | None = None  # unique within a split; else images are named by their place in it
    size_bytes: Count | None = None  # of the download
    published_counts: dict[SplitName, Count] | None = None  # images of each split in the published data
    fingerprint: Sha256 | None = None  # of the official data, as a record gives it
    splits: Splits

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a full commit."""
        return rules.is_commit(self.revision)

    @property
    def url(self) -> str:
        """Where a person can look at the data set."""
        return f"https://huggingface.co/datasets/{self.repository}"

    @field_validator("splits")
    @classmethod
    def _check(cls, splits: Splits) -> Splits:
        findings = [*rules.split_key_findings(splits, "hub", required=("split",))]
        _refuse("HubSource", [*findings, *rules.shared_hub_split_findings(splits)])
        return splits

    @model_validator(mode="after")
    def _check_revision(self) -> HubSource:
        _refuse("HubSource", rules.hub_findings(self))
        return self


Source = Annotated[NpzSource | FolderSource | PhantomSource | HubSource, Field(discriminator="layout")]


class SubsetSpec(_Strict):
    """A fixed, stratified choice of images, the same on every machine; `tasks.subset` makes it.

    A split without a size is taken whole.
    """

    seed: Index
    sizes: Annotated[dict[SplitName, Count], Field(min_length=1)]


class TaskSpec(_Strict):
    """A task as its YAML states it, after `extends:` was resolved."""

    id: Identifier
    title: Text
    version: Count
    modality: Literal["ultrasound", "pathology", "x-ray", "ct", "synthetic"]
    description: Text
    classes: tuple[ClassSpec, ...]
    prompts: tuple[PromptSpec, ...]
    primary_prompt: str
    source: Source
    subset: SubsetSpec | None = None
    seed: Index = 0  # of option shuffling, of the cut of a missing validation set, of subsampling
    max_train: Count = 5000
    max_new_tokens: Count = 16
    licence: Text
    redistribute_pixels: StrictBool
    citation: Text
    homepage: Url | None = None
    superseded_by: Identifier | None = None

    def prompt(self, prompt_id: str) -> PromptSpec:
        """Return a prompt by its id; raise TaskError where the task has none of that id."""
        for prompt in self.prompts:
            if prompt.id == prompt_id:
                return prompt
        known = ", ".join(p.id for p in self.prompts)
        raise TaskError(f"task {self.id}: no prompt `{prompt_id}`; it has {known}")

    @property
    def primary(self) -> PromptSpec:
        """The prompt whose answers are the headline."""
        return self.prompt(self.primary_prompt)

    @property
    def whole_split_sizes(self) -> dict[SplitName, int]:
        """Images of each split before a subset is taken, where the task states them."""
        if isinstance(self.source, PhantomSource):
            stated = {name: split.count or 0 for name, split in self.source.splits.items()}
        else:
            stated = dict(self.source.published_counts or {})
        return {name: stated[name] for name in SPLITS if name in stated}

    @property
    def split_sizes(self) -> dict[SplitName, int]:
        """Images of each split, where the task states them or chooses a subset."""
        stated = self.whole_split_sizes | (self.subset.sizes if self.subset else {})
        return {name: stated[name] for name in SPLITS if name in stated}

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: tuple[ClassSpec, ...]) -> tuple[ClassSpec, ...]:
        _refuse("TaskSpec", rules.class_findings(classes))
        return classes

    @field_validator("prompts")
    @classmethod
    def _check_prompts(cls, prompts: tuple[PromptSpec, ...]) -> tuple[PromptSpec, ...]:
        _refuse("TaskSpec", rules.prompt_findings(prompts))
        return prompts

    @model_validator(mode="after")
    def _check_references(self) -> TaskSpec:
        _refuse("TaskSpec", rules.reference_findings(self))
        return self


def _refuse(model: str, findings: Iterable[rules.Finding]) -> None:
    """Raise one ValidationError that holds every finding at its own key, if there is any."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError("task", "{reason}", {"reason": reason}), loc=key, input=None
        )
        for key, reason in findings
    ]
    if details:
        raise ValidationError.from_exception_data(model, details)
