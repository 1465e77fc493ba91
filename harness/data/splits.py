"""Keep the splits apart: no group in two of them, a test set that nothing alters, every step counted.

All choices are made by SHA-256 of seed and content, so that they are the same on every machine and do
not depend on file names or on a random generator's version.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.data.dataset import DataError, Sample, SplitReport
from tasks.sources import SPLITS, SplitName
from tasks.spec import TaskSpec
from tasks.subset import allocate, select

TEST_PART = 0.2  # of all images, where the source has no split
VAL_PART = 0.15  # of the training images, where there is no validation set


@dataclass(frozen=True)
class Candidate:
    """A sample before it is decided where it goes; `split` is None where the source has no split."""

    sample: Sample
    split: SplitName | None


def separate(
    candidates: Sequence[Candidate], grouped_by: str, seed: int
) -> tuple[tuple[Sample, ...], SplitReport]:
    """Put every image into a split such that no group is in two.

    The test set stays as it is. Images of training and validation whose group is in test are dropped,
    then training images whose group is in validation. Where there is no validation set, 15% of the
    training images are cut off, by group and stratified by class. Where the source has no split at all,
    20% of all images are first cut off as the test set in the same way.

    Returns:
        The samples, training first, then validation, then test, each in the order given.
    """
    report = SplitReport(grouped_by=grouped_by)
    if all(candidate.split is None for candidate in candidates):
        test, rest = _cut([c.sample for c in candidates], TEST_PART, f"{seed}:test")
        train, val = rest, []
        report = replace(report, test_cut=len(test))
    else:
        by_split = {name: [c.sample for c in candidates if c.split == name] for name in SPLITS}
        train, val, test = (by_split[name] for name in SPLITS)
    train, out_of_train = _without_groups(train, test)
    val, out_of_val = _without_groups(val, test)
    train, more_out_of_train = _without_groups(train, val)
    report = replace(report, dropped_train=out_of_train + more_out_of_train, dropped_val=out_of_val)
    if train and not val:
        val, train = _cut(train, VAL_PART, f"{seed}:val")
        report = replace(report, val_cut_from_train=len(val))
    placed = zip(SPLITS, (train, val, test), strict=True)
    return tuple(replace(s, split=name) for name, samples in placed for s in samples), report


def take_subset(
    samples: Sequence[Sample], task: TaskSpec, report: SplitReport
) -> tuple[tuple[Sample, ...], SplitReport]:
    """Take the task's fixed subset, if it has one.

    Raises:
        DataError: if a split has fewer images than the subset wants.
    """
    if task.subset is None:
        return tuple(samples), report
    chosen: list[Sample] = []
    sizes: dict[str, int] = {}
    for name in SPLITS:
        part = _of(samples, name)
        sizes[name] = len(part)
        wanted = task.subset.sizes.get(name, len(part))
        if wanted > len(part):
            raise DataError(f"{task.id}: the subset wants {wanted} images of {name}, which has {len(part)}")
        chosen += _select(part, wanted, task.subset.seed)
    return tuple(chosen), replace(report, subset_of=sizes)


def cap_train(
    samples: Sequence[Sample], size: int, seed: int, report: SplitReport
) -> tuple[tuple[Sample, ...], SplitReport]:
    """Keep at most `size` training images: every class in proportion, from as many groups as possible.

    Within a class one image of every group is taken before a second one of any.
    """
    train = _of(samples, "train")
    if len(train) <= size:
        return tuple(samples), report
    shares = allocate(_class_counts(train), size)
    kept: set[str] = set()
    for label, share in shares.items():
        members = [s for s in train if s.label == label]
        kept.update(s.id for s in _group_by_group(members, f"{seed}:max_train")[:share])
    capped = tuple(s for s in samples if s.split != "train" or s.id in kept)
    return capped, replace(report, train_before_max=len(train))


def limit_test(
    samples: Sequence[Sample], size: int, seed: int, report: SplitReport
) -> tuple[tuple[Sample, ...], SplitReport]:
    """Keep at most `size` test images, every class in proportion."""
    test = _of(samples, "test")
    if len(test) <= size:
        return tuple(samples), report
    others = [s for s in samples if s.split != "test"]
    return (*others, *_select(test, size, seed)), replace(report, test_before_limit=len(test))


def halve(samples: Sequence[Sample], salt: str) -> tuple[list[Sample], list[Sample]]:
    """Cut samples in two halves of whole groups, each class in the same proportion; `salt` decides which."""
    return _cut(list(samples), 0.5, salt)


def _of(samples: Sequence[Sample], name: SplitName) -> list[Sample]:
    return [s for s in samples if s.split == name]


def _select(samples: list[Sample], size: int, seed: int) -> list[Sample]:
    if size == len(samples):
        return samples
    chosen = select([s.id for s in samples], [s.label for s in samples], size, seed)
    return [samples[index] for index in chosen]


def _without_groups(samples: list[Sample], others: list[Sample]) -> tuple[list[Sample], int]:
    """Return the samples whose group is not among the others', and how many were left out."""
    taken = {other.group for other in others}
    kept = [sample for sample in samples if sample.group not in taken]
    return kept, len(samples) - len(kept)


def _cut(samples: list[Sample], part: float, salt: str) -> tuple[list[Sample], list[Sample]]:
    """Cut a part of the samples off by whole groups; return what was cut off and what is left.

    Groups come in the order of their hashes. One is taken if that brings the classes closer, in the sum
    of squares, to the wanted numbers of images; so large groups do not overshoot.
    """
    counts = _class_counts(samples)
    missing = {label: part * count for label, count in counts.items()}
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.group].append(sample)
    cut: set[str] = set()
    for name in sorted(groups, key=lambda name: _order(salt, name)):
        inside = _class_counts(groups[name])
        gain = sum(missing[k] ** 2 - (missing[k] - n) ** 2 for k, n in inside.items())
        if gain > 0 and len(cut) < len(groups) - 1:
            cut.add(name)
            for label, count in inside.items():
                missing[label] -= count
    return [s for s in samples if s.group in cut], [s for s in samples if s.group not in cut]


def _group_by_group(samples: list[Sample], salt: str) -> list[Sample]:
    """Order samples such that the first one of every group comes before the second one of any."""
    turn: dict[str, int] = defaultdict(int)
    keyed = []
    for sample in sorted(samples, key=lambda s: (_order(salt, s.pixel_hash), s.id)):
        keyed.append((turn[sample.group], _order(salt, sample.group), sample))
        turn[sample.group] += 1
    return [sample for _, _, sample in sorted(keyed, key=lambda entry: entry[:2])]


def _class_counts(samples: Sequence[Sample]) -> dict[int, int]:
    counts: dict[int, int] = defaultdict(int)
    for sample in samples:
        counts[sample.label] += 1
    return dict(sorted(counts.items()))


def _order(salt: str, name: str) -> str:
    return hashlib.sha256(f"{salt}:{name}".encode()).hexdigest()
