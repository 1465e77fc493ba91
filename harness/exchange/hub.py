"""Put results into a repository of the Hugging Face hub, or their scores into a model's card there.

Nothing leaves this machine but the files named in `FILES`. The token is the one that `hf auth login` keeps, or
HF_TOKEN; it is taken from nowhere else and never shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.exchange.model_card_metadata import with_metadata
from harness.exchange.model_card_section import card_section, with_section
from harness.report.pictures import shipped_task
from leaderboard.compare.measured import read_measured
from leaderboard.record.record import Record, RecordError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FILES = ("record.json", "samples.jsonl", "probes.jsonl", "report.html")
RepositoryKind = Literal["dataset", "model"]

_CARD = "README.md"
_PART_OF_PATH = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_+@-]|\.(?!\.))*", re.ASCII)


class PushError(RecordError):
    """Results cannot be put on the hub; the message says why and what to do."""


@dataclass(frozen=True)
class Upload:
    """A file and where it goes in the repository."""

    file: Path
    name: str
    size: int  # bytes


@dataclass(frozen=True)
class Push:
    """What would be uploaded, and in words what is left out of it."""

    uploads: tuple[Upload, ...]
    left_out: tuple[str, ...]


def gather(folders: Sequence[Path]) -> Push:
    """Find and check what is pushed of these result folders; contacts nothing.

    Raises:
        RecordError: a folder is no whole result, or its run failed, or two of them are the same.
    """
    uploads: dict[str, Upload] = {}
    left_out: list[str] = []
    for folder in folders:
        record = read_measured(folder).record
        if record.status == "failed":
            raise PushError(f"{folder}: the run failed ({record.error}); there is no result to push")
        place = _place(folder, record)
        report = _report_reason(record)
        for name in FILES:
            file = folder / name
            if not file.exists():
                continue  # of these the report alone may be missing: what was read is there
            if file.is_symlink() or not file.is_file():
                raise PushError(f"{file}: is a link or no file; what it leads to is not pushed")
            if name == "report.html" and report:
                left_out.append(f"{file}: {report}")
                continue
            upload = Upload(file, f"{place}/{name}", file.stat().st_size)
            if upload.name in uploads:
                other = uploads[upload.name].file.parent
                raise PushError(f"{folder}: would go to {place}, as {other} would; push one of them")
            uploads[upload.name] = upload
    return Push(tuple(uploads.values()), tuple(left_out))


def push_results(push: Push, repository: str, kind: RepositoryKind, *, private: bool) -> str:
    """Upload files in one commit, into a repository that is made where there is none; return the commit's address.

    Raises:
        PushError: there is no token, the hub refuses or cannot be reached, or `private` was asked for and the
            repository is public.
    """
    from huggingface_hub import CommitOperationAdd

    with _hub(repository) as api:
        _have_repository(api, repository, kind, private=private)
        operations = [CommitOperationAdd(upload.name, str(upload.file)) for upload in push.uploads]
        done = api.create_commit(
            repository, operations, commit_message="Add results of mllm-harness", repo_type=kind
        )
    return str(done.commit_url)


def updated_card(card: str, records: Sequence[Record]) -> str:
    """Return a model card with these results in its section and in its front matter.

    Raises:
        RecordError: the records are not of one model, or the card is damaged.
    """
    return with_section(with_metadata(card, records), card_section(records))


def push_card(records: Sequence[Record], repository: str, kind: RepositoryKind) -> str:
    """Write the scores into a repository's README.md in one commit; return the commit's address.

    Raises:
        PushError: there is no such repository, it is of another model, there is no token, the card was changed
            meanwhile, or the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.errors import RemoteEntryNotFoundError

    for record in records:
        known = record.model.hub_id
        if kind == "model" and record.condition == "released" and known not in (None, repository):
            raise PushError(f"{repository}: the result is of {known}, so it does not belong into this card")
    with _hub(repository) as api:
        commit = api.repo_info(repository, repo_type=kind).sha
        try:
            kept = api.hf_hub_download(repository, _CARD, repo_type=kind, revision=commit)
            card = Path(kept).read_bytes().decode("utf-8")
        except RemoteEntryNotFoundError:  # a card that merely could not be had is another error
            card = ""
        except UnicodeDecodeError as error:
            raise PushError(f"{repository}: its {_CARD} is not UTF-8 text") from error
        new = updated_card(card, records)
        done = api.create_commit(
            repository,
            [CommitOperationAdd(_CARD, new.encode("utf-8"))],
            commit_message="Add scores of mllm-harness",
            repo_type=kind,
            parent_commit=commit,
        )
    return str(done.commit_url)


def _place(folder: Path, record: Record) -> str:
    """Return the folder in the repository: `results/<model>[@<condition>]/<task>`, as under `--output`."""
    from harness.plan.plan import result_folder

    place = result_folder(Path("results"), record.model.name, record.task.name, record.condition)
    if len(place.parts) != 3 or not all(_PART_OF_PATH.fullmatch(part) for part in place.parts):
        raise PushError(f"{folder}: model or task is named `{place}`, which is no path in a repository")
    return place.as_posix()


def _report_reason(record: Record) -> str | None:
    """Say why a report stays here, or None: it may hold the task's images."""
    task = shipped_task(record)
    if task is None:
        return "is left out: whether this task's images may be passed on is known of the shipped tasks alone"
    if not task.redistribute_pixels:
        return f"is left out: the images of {task.id} must not be passed on"
    return None


def _have_repository(api: HfApi, repository: str, kind: RepositoryKind, *, private: bool) -> None:
    """Make the repository where there is none; refuse a public one where private was asked for."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        info = api.repo_info(repository, repo_type=kind)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        api.create_repo(repository, repo_type=kind, private=True if private else None)
        return
    if private and not info.private:
        raise PushError(
            f"{repository}: exists and is public; make it private on the hub, or leave out --private"
        )


@contextmanager
def _hub(repository: str) -> Iterator[HfApi]:
    """Open the hub for writing; its refusals are PushErrors."""
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE:
        raise PushError(f"{repository}: HF_HUB_OFFLINE is set; unset it to push")
    if get_token() is None:
        raise PushError(f"{repository}: no token of the hub; run `hf auth login`, or set HF_TOKEN")
    unreachable: Any = (
        *HfHubHTTPError.__bases__,
        OSError,
    )  # the HTTP library differs between the client's versions
    try:
        yield HfApi(library_name="mllm-harness")
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise PushError(f"{repository}: the hub refuses ({status}); {_way_out(status)}") from error
    except unreachable as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise PushError(
            f"{repository}: the hub cannot be reached ({type(error).__name__}); try again"
        ) from error


def _way_out(status: int) -> str:
    if status == 404:
        return "check its name, and that your token may see it"
    if status in (409, 412):
        return "it was changed meanwhile; run the command again"
    if status in (401, 403):
        return "your token may not write to it: `hf auth login` with one that may"
    return "try again later"
