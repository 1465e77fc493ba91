"""The files of a data set of the Hugging Face hub, at one revision: found on this machine, or fetched.

Only Parquet files, images and what describes them are fetched, into the hub client's own cache (HF_HOME), so that
a later run, or one without a network, finds them again.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

from harness.console import is_terminal
from harness.data.dataset import DataError
from harness.data.decode import SUFFIXES
from harness.data.fetch.download import LARGE
from tasks.sources import HubSource

EXTRA = "pip install 'mllm-harness[hub]'"

_DATA = ("*.parquet", *(f"*{form}" for suffix in sorted(SUFFIXES) for form in (suffix, suffix.upper())))
_DESCRIPTION = ("README.md", ".huggingface.yaml", "*metadata.csv", "*metadata.jsonl")
_FETCHED = [*_DATA, *_DESCRIPTION]


def title_of(source: HubSource) -> str:
    """Return the repository and its revision, for messages."""
    return f"{source.repository}@{source.revision}"


def check_hub(source: HubSource, folders: tuple[Path, ...], *, offline: bool, assume_yes: bool) -> None:
    """Check that a repository's files lie here or may be fetched; fetch nothing.

    Raises:
        DataError: if not; the message says how to get them otherwise.
    """
    check_extra(source)
    if find_copy(source, folders) is None and _cached(source, offline=offline) is None:
        _check_fetch(source, folders, offline=offline, assume_yes=assume_yes)


def hub_folder(source: HubSource, folders: tuple[Path, ...], *, offline: bool, assume_yes: bool) -> Path:
    """Return a folder with the repository's files: a copy in a data directory, the hub's cache, or fetched now.

    Raises:
        DataError: if fetching is not possible, not allowed, or failed.
    """
    found = find_copy(source, folders) or _cached(source, offline=offline)
    if found is not None:
        return found
    _check_fetch(source, folders, offline=offline, assume_yes=assume_yes)
    return _fetch(source)


def check_extra(source: HubSource) -> None:
    """Refuse a hub data set where the libraries that read it are not installed; DataError."""
    import importlib.util

    if importlib.util.find_spec("datasets") is None or importlib.util.find_spec("huggingface_hub") is None:
        raise DataError(f"{title_of(source)}: data sets of the hub need another package: {EXTRA}")


def find_copy(source: HubSource, folders: tuple[Path, ...]) -> Path | None:
    """Return the first folder `<owner>--<name>` or `<name>` in these folders that holds Parquet files or images."""
    owner, name = source.repository.split("/")
    for folder in folders:
        for path in (folder / f"{owner}--{name}", folder / name):
            if path.is_dir() and any(_matches(found.name, _DATA) for found in path.rglob("*")):
                return path
    return None


def _cached(source: HubSource, *, offline: bool) -> Path | None:
    """Return the snapshot in the hub's cache, if it is whole.

    What a branch or tag stood for before counts only offline: the hub may know better.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not (source.is_pinned or _stays_offline(offline)):
        return None
    try:
        return _snapshot(source, local_files_only=True)
    except LocalEntryNotFoundError:
        return None


def _check_fetch(source: HubSource, folders: tuple[Path, ...], *, offline: bool, assume_yes: bool) -> None:
    title = title_of(source)
    place = f"or put a copy of its files into {folders[0] / source.repository.replace('/', '--')}"
    if _stays_offline(offline):
        raise DataError(f"{title}: not on this machine, and offline nothing is fetched; go online, {place}")
    size = _size_on_hub(source)
    if size > LARGE and not assume_yes:
        raise DataError(f"{title}: a download of {size / 1e6:.0f} MB from the hub; agree with --yes, {place}")


def _size_on_hub(source: HubSource) -> int:
    """Ask the hub for the bytes that would be fetched."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    try:
        tree = HfApi().list_repo_tree(
            source.repository, recursive=True, revision=source.revision, repo_type="dataset"
        )
        files = [item for item in tree if isinstance(item, RepoFile)]
    except _refusals() as error:
        raise _refused(source, error) from error
    if not any(_matches(item.path, _DATA) for item in files):
        raise DataError(
            f"{title_of(source)}: holds neither Parquet files nor images; the hub keeps a Parquet copy of most "
            "data sets in the branch refs/convert/parquet: give a commit of that as the revision"
        )
    return sum(item.size for item in files if _matches(item.path, tuple(_FETCHED)))


def _fetch(source: HubSource) -> Path:
    try:
        return _snapshot(source, local_files_only=False)
    except _refusals() as error:
        raise _refused(source, error) from error


def _snapshot(source: HubSource, *, local_files_only: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import tqdm

    class Hidden(tqdm):
        """The client draws some bars where there is no terminal too."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **(options | {"disable": True}))

    return Path(
        snapshot_download(
            source.repository,
            repo_type="dataset",
            revision=source.revision,
            allow_patterns=_FETCHED,
            local_files_only=local_files_only,
            tqdm_class=tqdm if is_terminal() else Hidden,
        )
    )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _stays_offline(offline: bool) -> bool:
    from huggingface_hub import constants

    return offline or constants.HF_HUB_OFFLINE


def _refusals() -> tuple[type[Exception], ...]:
    """Return the errors of a hub that refuses or cannot be reached, those of its client's HTTP library too."""
    from huggingface_hub.errors import HfHubHTTPError

    return (*HfHubHTTPError.__bases__, OSError)


def _refused(source: HubSource, error: Any) -> DataError:
    response = getattr(error, "response", None)
    if response is None:
        return DataError(
            f"{title_of(source)}: the hub cannot be reached ({type(error).__name__}); try again, or offline"
        )
    return DataError(
        f"{title_of(source)}: the hub refuses it ({response.status_code}); check repository and revision, and for "
        "a gated or private data set accept its terms and run `hf auth login`"
    )
