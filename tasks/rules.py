"""The rules that a task keeps beyond the types of its keys: each function yields what breaks one of them.

A finding is the location of a key below the checked value, and what is wrong there. `tasks.spec` raises them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.spec import ClassSpec, HubSource, PromptSpec, SplitName, Splits, TaskSpec

Finding = tuple[tuple[int | str, ...], str]

MAX_CLASSES = 26  # one letter an option
MIN_PARAPHRASES = 2


def placeholder_findings(prompt: PromptSpec) -> Iterator[Finding]:
    """A label prompt lists the classes once, a letters prompt the options once, and neither anything else."""
    wanted = "{classes}" if prompt.kind == "label" else "{options}"
    if prompt.template.count(wanted) != 1:
        yield ("template",), f"a `{prompt.kind}` prompt must contain {wanted} exactly once"
    for other in sorted(set(re.findall(r"\{[^{}]*\}", prompt.template)) - {wanted}):
        yield (
            ("template",),
            f"{other} is unknown: a `{prompt.kind}` prompt has {wanted} alone",
        )


def split_key_findings(
    splits: Splits, layout: str, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
) -> Iterator[Finding]:
    """There is a test split, and every split states the keys of its layout and no others."""
    if "test" not in splits:
        yield ("test",), "a task needs a test split"
    for name, split in splits.items():
        stated = split.model_dump(exclude_none=True)
        for key in required:
            if key not in stated:
                yield (name, key), f"is required where the layout is `{layout}`"
        for key in stated:
            if key not in required + optional:
                known = ", ".join(required + optional)
                yield (name, key), f"is no key of the layout `{layout}`, whose splits know {known}"


def shared_array_findings(splits: Splits) -> Iterator[Finding]:
    """No array of an npz file stands in two places."""
    seen: dict[str, str] = {}
    for name, split in splits.items():
        for key, array in (("images", split.images), ("labels", split.labels)):
            if array is not None and array in seen:
                yield (name, key), f"splits overlap: array `{array}` is already {seen[array]}"
            elif array is not None:
                seen[array] = f"the {key} of split `{name}`"


def nested_folder_findings(splits: Splits) -> Iterator[Finding]:
    """No split's folder is, or lies in, another split's."""
    seen: dict[str, PurePosixPath] = {}
    for name, split in splits.items():
        folder = PurePosixPath(split.folder or name)
        for other, place in seen.items():
            if folder == place or place in folder.parents or folder in place.parents:
                yield (name, "folder"), f"splits overlap: `{folder}`, and `{place}` of split `{other}`"
        seen[name] = folder


def overlapping_range_findings(splits: Splits) -> Iterator[Finding]:
    """No generated image has its index in two splits."""
    seen: dict[str, range] = {}
    for name, split in splits.items():
        if split.first is None or split.count is None:
            continue
        indices = range(split.first, split.first + split.count)
        for other, place in seen.items():
            if indices.start < place.stop and place.start < indices.stop:
                yield (
                    (name, "first"),
                    f"splits overlap: {_span(indices)}, and in `{other}` {_span(place)}",
                )
        seen[name] = indices


def shared_hub_split_findings(splits: Splits) -> Iterator[Finding]:
    """No split of a repository stands for two of the task's."""
    seen: dict[str, str] = {}
    for name, split in splits.items():
        if split.split is None:
            continue
        if split.split in seen:
            yield (name, "split"), f"splits overlap: `{split.split}` is already split `{seen[split.split]}`"
        seen.setdefault(split.split, name)


def hub_findings(source: HubSource) -> Iterator[Finding]:
    """A fingerprint stands beside a full commit alone, and each column has one meaning."""
    if source.fingerprint is not None and not source.is_pinned:
        yield (
            ("fingerprint",),
            f"`{source.revision}` can move: data are official only at a full commit of 40 hexadecimal digits",
        )
    seen: dict[str, str] = {}
    for key in ("image_column", "label_column", "group_column", "id_column"):
        column = getattr(source, key)
        if column in seen:
            yield (key,), f"`{column}` is already the {seen[column]}"
        elif column is not None:
            seen.setdefault(column, key)


def is_commit(revision: str) -> bool:
    """Tell whether a revision is a full commit, which names the same data for ever."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def _span(indices: range) -> str:
    return f"images {indices.start} to {indices.stop - 1}"


def class_findings(classes: tuple[ClassSpec, ...]) -> Iterator[Finding]:
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


def prompt_findings(prompts: tuple[PromptSpec, ...]) -> Iterator[Finding]:
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


def reference_findings(task: TaskSpec) -> Iterator[Finding]:
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
        if name not in source.splits and not (
            name == "val" and "train" in source.splits
        ):  # val is cut from train
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
