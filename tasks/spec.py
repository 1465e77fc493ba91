"""The schema of a task: classes, prompts, data source, splits, licence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, StrictBool, field_validator, model_validator

from tasks.fields import Count, Finding, Identifier, Index, Stated, Text, Url, Words, refuse
from tasks.files import json_hash
from tasks.problems import DocumentError
from tasks.sources import SPLITS, PhantomSource, Source, SplitName

MAX_CLASSES = 26  # one letter an option
MIN_PARAPHRASES = 2


class TaskError(DocumentError):
    """A task is unknown or its YAML is wrong; the message names file, line and key, one problem a line."""


class ClassSpec(Stated):
    """One class: its label in the data, and the words with which a model names it."""

    name: Words
    wording: Words
    aliases: tuple[Words, ...] = ()  # other wordings that are read as this class in free text


class PromptSpec(Stated):
    """One way to ask. A `label` prompt lists `{classes}`, a `letters` prompt shuffled `{options}`."""

    id: Identifier
    kind: Literal["label", "letters"]
    template: Text

    @model_validator(mode="after")
    def _check(self) -> PromptSpec:
        refuse("PromptSpec", _placeholder_findings(self))
        return self


class SubsetSpec(Stated):
    """A fixed, stratified choice of images, the same on every machine; `tasks.subset` makes it.

    A split without a size is taken whole.
    """

    seed: Index
    sizes: Annotated[dict[SplitName, Count], Field(min_length=1)]


class TaskSpec(Stated):
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
        refuse("TaskSpec", _class_findings(classes))
        return classes

    @field_validator("prompts")
    @classmethod
    def _check_prompts(cls, prompts: tuple[PromptSpec, ...]) -> tuple[PromptSpec, ...]:
        refuse("TaskSpec", _prompt_findings(prompts))
        return prompts

    @model_validator(mode="after")
    def _check_references(self) -> TaskSpec:
        refuse("TaskSpec", _reference_findings(self))
        return self


def task_hash(task: TaskSpec) -> str:
    """Return 16 hexadecimal digits over all that a task states.

    Values that are their keys' defaults do not enter: a key that tasks learn later changes no hash of before.
    """
    stated = task.model_dump(mode="json", exclude_defaults=True)
    return json_hash(stated, ascii_only=False)[:16]


def _placeholder_findings(prompt: PromptSpec) -> Iterator[Finding]:
    """A label prompt lists the classes once, a letters prompt the options once, and neither anything else."""
    wanted = "{classes}" if prompt.kind == "label" else "{options}"
    if prompt.template.count(wanted) != 1:
        yield ("template",), f"a `{prompt.kind}` prompt must contain {wanted} exactly once"
    for other in sorted(set(re.findall(r"\{[^{}]*\}", prompt.template)) - {wanted}):
        yield ("template",), f"{other} is unknown: a `{prompt.kind}` prompt has {wanted} alone"


def _class_findings(classes: tuple[ClassSpec, ...]) -> Iterator[Finding]:
    """2 to 26 classes; no name, wording or alias means two of them."""
    if not 2 <= len(classes) <= MAX_CLASSES:
        yield (), f"{len(classes)} classes; a task has 2 to {MAX_CLASSES}, one letter an option"
    meaning: dict[str, int] = {}
    for key in ("name", "wording", "aliases"):
        for index, cls in enumerate(classes):
            stated = getattr(cls, key)
            for position, words in enumerate([stated] if isinstance(stated, str) else stated):
                other = meaning.setdefault(_folded(words), index)
                if other != index:
                    place = (index, key) if isinstance(stated, str) else (index, key, position)
                    yield place, f"`{words}` already means class `{classes[other].name}`"


def _folded(words: str) -> str:
    """Return words as answers are read: case, spaces, hyphens and underscores make no difference."""
    return " ".join(re.split(r"[\s_-]+", words.casefold()))


def _prompt_findings(prompts: tuple[PromptSpec, ...]) -> Iterator[Finding]:
    """Ids are unique; there is a letters prompt, and there are paraphrases of the primary label prompt."""
    seen: set[str] = set()
    for index, prompt in enumerate(prompts):
        if prompt.id in seen:
            yield (index, "id"), f"`{prompt.id}` is the id of two prompts"
        seen.add(prompt.id)
    if not any(p.kind == "letters" for p in prompts):
        yield (), "at least one prompt of kind `letters` is needed"
    if sum(p.kind == "label" for p in prompts) < 1 + MIN_PARAPHRASES:
        yield (), f"{MIN_PARAPHRASES} paraphrases of kind `label` are needed beside the primary prompt"


def _reference_findings(task: TaskSpec) -> Iterator[Finding]:
    """What one key says of another holds: the primary prompt, class folders, counts, the subset."""
    kinds = {prompt.id: prompt.kind for prompt in task.prompts}
    if task.primary_prompt not in kinds:
        yield ("primary_prompt",), f"`{task.primary_prompt}` is none of the prompts {', '.join(kinds)}"
    elif kinds[task.primary_prompt] != "label":
        yield ("primary_prompt",), f"`{task.primary_prompt}` must be of kind `label`, not `letters`"
    if task.superseded_by == task.id:
        yield ("superseded_by",), "a task cannot supersede itself"
    source = task.source
    if source.layout == "folder":
        names = tuple(c.name for c in task.classes)
        yield from _unknown_keys(source.class_folders, names, ("source", "class_folders"))
    if source.layout != "phantom":
        yield from _unknown_keys(
            source.published_counts or {}, tuple(source.splits), ("source", "published_counts")
        )
    stated = task.whole_split_sizes
    for name, size in (task.subset.sizes if task.subset else {}).items():
        cut = name == "val" and "train" in source.splits  # from train
        if name not in source.splits and not cut:
            yield ("subset", "sizes", name), f"the source has no split `{name}`"
        elif size > stated.get(name, size):
            yield ("subset", "sizes", name), f"{size} images of {stated[name]}; a subset cannot be larger"


def _unknown_keys(
    given: Mapping[str, object] | Mapping[SplitName, object], known: Iterable[str], place: tuple[str, ...]
) -> Iterator[Finding]:
    names = tuple(known)
    for name in given:
        if name not in names:
            yield (*place, name), f"`{name}` is none of {', '.join(names)}"
