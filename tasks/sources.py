"""The sources of a task's images: what each layout's YAML states, and the splits that it keeps apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, Strict, field_validator, model_validator

from tasks.fields import (
    Column,
    Count,
    Finding,
    HubSplit,
    Index,
    Md5,
    RelativePath,
    Repository,
    Revision,
    Sha256,
    Stated,
    Url,
    refuse,
)

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


class SplitSource(Stated):
    """Where one split comes from; which keys apply is up to the source's layout."""

    images: str | None = None  # npz: array of images
    labels: str | None = None  # npz: array of labels
    folder: RelativePath | None = None  # image folder: subfolder of the split, else named as the split
    first: Index | None = None  # phantom: index of the first image
    count: Count | None = None  # phantom: number of images
    split: HubSplit | None = None  # hub: name of the split in the repository


Splits = dict[SplitName, SplitSource]


class NpzSource(Stated):
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
        findings = [*_split_key_findings(splits, "npz", required=("images", "labels"))]
        refuse("NpzSource", [*findings, *_shared_array_findings(splits)])
        return splits


class FolderSource(Stated):
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
        findings = [*_split_key_findings(splits, "folder", optional=("folder",))]
        refuse("FolderSource", [*findings, *_nested_folder_findings(splits)])
        return splits


class PhantomSource(Stated):
    """Images drawn by `harness.data.phantom`; nothing to download."""

    layout: Literal["phantom"]
    generator_version: Count
    size: Annotated[int, Strict(), Field(ge=16)]  # side of the square images in pixels
    fingerprint: str | None = None  # of the whole set, where it is known
    splits: Splits

    @field_validator("splits")
    @classmethod
    def _check(cls, splits: Splits) -> Splits:
        findings = [*_split_key_findings(splits, "phantom", required=("first", "count"))]
        refuse("PhantomSource", [*findings, *_overlapping_range_findings(splits)])
        return splits


class HubSource(Stated):
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
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None

    @property
    def url(self) -> str:
        """Where a person can look at the data set."""
        return f"https://huggingface.co/datasets/{self.repository}"

    @field_validator("splits")
    @classmethod
    def _check(cls, splits: Splits) -> Splits:
        findings = [*_split_key_findings(splits, "hub", required=("split",))]
        refuse("HubSource", [*findings, *_shared_hub_split_findings(splits)])
        return splits

    @model_validator(mode="after")
    def _check_revision(self) -> HubSource:
        refuse("HubSource", _hub_findings(self))
        return self


Source = Annotated[NpzSource | FolderSource | PhantomSource | HubSource, Field(discriminator="layout")]


def _split_key_findings(
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


def _shared_array_findings(splits: Splits) -> Iterator[Finding]:
    """No array of an npz file stands in two places."""
    seen: dict[str, str] = {}
    for name, split in splits.items():
        for key, array in (("images", split.images), ("labels", split.labels)):
            if array is not None and array in seen:
                yield (name, key), f"splits overlap: array `{array}` is already {seen[array]}"
            elif array is not None:
                seen[array] = f"the {key} of split `{name}`"


def _nested_folder_findings(splits: Splits) -> Iterator[Finding]:
    """No split's folder is, or lies in, another split's."""
    seen: dict[str, PurePosixPath] = {}
    for name, split in splits.items():
        folder = PurePosixPath(split.folder or name)
        for other, place in seen.items():
            if folder == place or place in folder.parents or folder in place.parents:
                yield (name, "folder"), f"splits overlap: `{folder}`, and `{place}` of split `{other}`"
        seen[name] = folder


def _overlapping_range_findings(splits: Splits) -> Iterator[Finding]:
    """No generated image has its index in two splits."""
    seen: dict[str, range] = {}
    for name, split in splits.items():
        if split.first is None or split.count is None:
            continue
        indices = range(split.first, split.first + split.count)
        for other, place in seen.items():
            if indices.start < place.stop and place.start < indices.stop:
                yield (name, "first"), f"splits overlap: {_span(indices)}, and in `{other}` {_span(place)}"
        seen[name] = indices


def _shared_hub_split_findings(splits: Splits) -> Iterator[Finding]:
    """No split of a repository stands for two of the task's."""
    seen: dict[str, str] = {}
    for name, split in splits.items():
        if split.split is None:
            continue
        if split.split in seen:
            yield (name, "split"), f"splits overlap: `{split.split}` is already split `{seen[split.split]}`"
        seen.setdefault(split.split, name)


def _hub_findings(source: HubSource) -> Iterator[Finding]:
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


def _span(indices: range) -> str:
    return f"images {indices.start} to {indices.stop - 1}"
