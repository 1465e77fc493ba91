"""A data set as the rest of the project sees it: samples with labels, groups, splits and pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

from tasks.sources import SplitName
from tasks.spec import TaskSpec


class DataError(Exception):
    """Data cannot be found, read or trusted; the message names the file and the way out."""


@dataclass(frozen=True)
class Sample:
    """One image of a data set.

    `id` is stable across machines: `train/000012` in an npz file or a generated set, the path below
    the data set's folder otherwise. `label` is an index into the task's classes. `group` holds the
    patient, or the near-duplicates, that must not cross splits. `pixel_hash` is over mode, size and
    decoded pixels.
    """

    id: str
    split: SplitName
    label: int
    group: str
    pixel_hash: str


@dataclass(frozen=True)
class SplitReport:
    """What had to be done to keep the splits apart, for the record."""

    grouped_by: str  # "patient_id", "near-duplicates", both, or "image" where every image is its own group
    dropped_train: int = 0  # images dropped because their group is in test (or in validation)
    dropped_val: int = 0  # images dropped because their group is in test
    test_cut: int = 0  # test images cut from a source without any split
    val_cut_from_train: int = 0
    subset_of: dict[str, int] = field(default_factory=dict)  # images per split before a subset was taken
    train_before_max: int | None = None  # where `max_train` left some out
    test_before_limit: int | None = None  # where `limit` left some out


@dataclass(frozen=True)
class Dataset:
    """A task's images, split and grouped. `read` decodes one sample to an RGB picture."""

    task: TaskSpec
    samples: tuple[Sample, ...]  # train, then val, then test, each in a fixed order
    fingerprint: str
    official: bool
    location: str  # where it was found, for messages; never written into a record
    report: SplitReport
    read: Callable[[Sample], Image.Image] = field(repr=False)

    def split(self, name: SplitName) -> tuple[Sample, ...]:
        """Return the samples of one split, in order."""
        return tuple(s for s in self.samples if s.split == name)
