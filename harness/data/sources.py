"""Load a task's data: find, list, index, group, split, choose, and say what it is."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data import splits
from harness.data.dataset import DataError, Dataset, Sample
from harness.data.decode import to_rgb
from harness.data.fetch.download import download_npz
from harness.data.groups import group
from harness.data.index import Entry, index
from harness.data.layouts.detection import list_folder
from harness.data.layouts.hub import list_hub
from harness.data.layouts.npz import list_npz
from harness.data.layouts.phantom import list_phantom
from harness.data.listing import ListedImage, Listing
from harness.data.locate import data_folder, find_folder, find_npz, search_folders
from harness.data.progress import Step, silent
from leaderboard.board.image_list import dataset_fingerprint
from tasks.file_list import PublishedFile, read_file_list
from tasks.files import cache_folder
from tasks.sources import FolderSource, HubSource, NpzSource, PhantomSource
from tasks.spec import TaskSpec


@dataclass(frozen=True)
class _Access:
    """What the caller allows, and where to look."""

    data_dir: Path | None
    offline: bool
    assume_yes: bool
    progress: Step


def load_dataset(
    task: TaskSpec,
    *,
    data_dir: Path | None = None,
    offline: bool = False,
    assume_yes: bool = False,
    limit: int | None = None,
    max_train: int | None = None,
    progress: Step = silent,
) -> Dataset:
    """Load the images of a task.

    The data is looked for in `data_dir`, in HARNESS_DATA_DIR, in the cache (HARNESS_CACHE_DIR, else the
    user's cache folder) and in `~/.medmnist`, a data set of the hub in the hub's own cache too; then, if it
    may be, it is downloaded. What splitting did is told in the data set's report.

    Args:
        task: the task.
        data_dir: folder that holds data sets, or the data set's own folder.
        offline: never download.
        assume_yes: agree to downloads of more than 200 MB.
        limit: keep at most this many test images, stratified by class.
        max_train: keep at most this many training images, stratified by class and spread over groups;
            the task's `max_train` by default.
        progress: opens a step of known length, as `Console.step` does.

    Raises:
        DataError: if the data cannot be found, read or trusted.
    """
    for name, value in (("limit", limit), ("max_train", max_train)):
        if value is not None and value < 1:
            raise DataError(f"{name} is {value}; it must be 1 or more")
    source, published = task.source, _published(task)
    listing = _list(task, published, _Access(data_dir, offline, assume_yes, progress))
    entries = index(listing, cache_folder(), progress)
    candidates, grouped_by = _candidates(listing, entries)
    samples, report = splits.separate(candidates, grouped_by, task.seed)
    _check(task, listing, samples)
    samples, report = splits.take_subset(samples, task, report)
    identity = dataset_fingerprint(samples)
    official = _is_official(task, source, listing, entries, published, identity)
    size = task.max_train if max_train is None else max_train
    samples, report = splits.cap_train(samples, size, task.seed, report)
    if limit is not None:
        samples, report = splits.limit_test(samples, limit, task.seed, report)
    location = "generated" if listing.location is None else str(listing.location)
    return Dataset(task, samples, identity, official, location, report, _reader(listing))


def _published(task: TaskSpec) -> tuple[PublishedFile, ...]:
    if isinstance(task.source, FolderSource) and task.source.file_list:
        return read_file_list(task.source.file_list)
    return ()


def _list(task: TaskSpec, published: tuple[PublishedFile, ...], access: _Access) -> Listing:
    source = task.source
    if isinstance(source, PhantomSource):
        return list_phantom(source, cache_folder(), access.progress)
    folders = search_folders(access.data_dir)
    if isinstance(source, FolderSource):
        return list_folder(find_folder(task, source, folders), task, source, published)
    may = {"offline": access.offline, "assume_yes": access.assume_yes}
    if isinstance(source, HubSource):
        return list_hub(task, source, folders, **may)
    path = find_npz(source, folders)
    if path is None:
        path = download_npz(source, data_folder(), access.progress, **may)
    return list_npz(path, source, len(task.classes))


def _candidates(listing: Listing, entries: list[Entry]) -> tuple[list[splits.Candidate], str]:
    """Join what was listed with what was decoded, and with the groups."""
    hashes = [entry.pixel_hash for entry in entries]
    if listing.location is None:  # generated images are independent of each other
        names: tuple[str, ...] = tuple(digest[:16] for digest in hashes)
        grouped_by = "image"
    else:
        thumbnails = np.stack([entry.thumbnail for entry in entries])
        names, grouped_by = group([image.patient_id for image in listing.images], hashes, thumbnails)
    rows = zip(listing.images, hashes, names, strict=True)
    return [
        splits.Candidate(Sample(image.id, image.split or "train", image.label, name, digest), image.split)
        for image, digest, name in rows
    ], grouped_by


def _check(task: TaskSpec, listing: Listing, samples: tuple[Sample, ...]) -> None:
    """Refuse data on which nothing can be measured or fitted."""
    place = listing.location or task.id
    if not any(s.split == "test" for s in samples):
        raise DataError(f"{place}: no test images")
    train = {s.label for s in samples if s.split == "train"}
    for label, named in enumerate(task.classes):
        if train and label not in train:
            why = "after images whose group is in test or validation were dropped"
            raise DataError(f"{place}: no training images of class {named.name} {why}")


def _is_official(
    task: TaskSpec,
    source: NpzSource | FolderSource | PhantomSource | HubSource,
    listing: Listing,
    entries: list[Entry],
    published: tuple[PublishedFile, ...],
    identity: str,
) -> bool:
    """Tell whether these are, byte for byte, the data that the task names."""
    if isinstance(source, PhantomSource):
        return source.fingerprint is not None and source.fingerprint == identity
    if isinstance(source, HubSource):
        return source.is_pinned and source.fingerprint == identity
    if isinstance(source, NpzSource):
        return (
            source.md5 is not None
            and listing.location is not None
            and _md5_of(listing.location) == source.md5
        )
    names = [c.name for c in task.classes]
    return _is_published(listing.images, [entry.sha256 for entry in entries], names, published)


def _is_published(
    images: Sequence[ListedImage],
    sha256: Sequence[str],
    class_names: Sequence[str],
    published: Sequence[PublishedFile],
) -> bool:
    """Tell whether the images are exactly the published files, byte for byte, each in its class and split."""
    found = Counter(
        (digest, class_names[image.label], image.split, image.patient_id or "")
        for image, digest in zip(images, sha256, strict=True)
    )
    wanted = Counter((p.sha256, p.label, p.split, p.patient_id.strip()) for p in published)
    return bool(published) and found == wanted


def _md5_of(path: Path) -> str:
    """Return the md5 of a file; it names a published version and protects against nothing."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _reader(listing: Listing) -> Callable[[Sample], Image.Image]:
    by_id = {image.id: image for image in listing.images}

    def read(sample: Sample) -> Image.Image:
        return to_rgb(listing.open(by_id[sample.id]))

    return read
