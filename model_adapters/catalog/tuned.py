"""What a tuned folder says of itself: which files it holds, what they were tuned from and on. Without torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from model_adapters.catalog.card import ModelCard
from model_adapters.interface import ModelError

ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIGURATION = "adapter_config.json"
FULL = "trained_in_full.safetensors"  # of a part whose own weights were trained, by their names in the model
HEAD = "vision_head.safetensors"  # the linear head of a tuned vision encoder
TUNED = "tuning.json"  # written last: a folder that has it is finished


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Look(_Part):
    """What the validation images said after a number of steps; the log-loss in nats."""

    step: int
    balanced_accuracy: float
    log_loss: float


class TunedImages(_Part):
    """The half of a task's training images that tuning may use, in order; `used` of them were.

    Groups and pixel hashes say of any other image whether it must not be probed: see `Dataset`.
    """

    hash: str
    used: int
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    pixel_hashes: tuple[str, ...]


class TunedModel(_Part):
    """The content of `tuning.json`. `key` stands for all that decides the weights.

    `kept` is the step whose weights are kept: the best of `looks`, the one before the first step aside.
    """

    schema_version: Literal[1] = 1
    key: str
    base: str  # name of the base model's card
    base_revision: str
    task: str
    task_version: int
    dataset_fingerprint: str
    labels: tuple[str, ...]  # the words that the model was taught, in the order of the classes
    settings: dict[str, Any]
    settings_id: str
    tuning_half: TunedImages
    validation_images: int
    trained_parameters: int
    steps: int
    kept: int
    looks: tuple[Look, ...]
    dtype: str
    packages: dict[str, str]


def read_tuned(folder: Path) -> TunedModel | None:
    """Return what a folder says of its tuning, None where it says nothing.

    Raises:
        ModelError: `tuning.json` is damaged.
    """
    path = folder / TUNED
    try:
        return TunedModel.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(f"{path}: {where}: {first['msg']}") from error


def tuned_by(card: ModelCard) -> TunedModel | None:
    """Return what is known of the tuning of a card's adapter; None without an adapter, or for a foreign one.

    Raises:
        ModelError: the adapter is missing or damaged.
    """
    return None if card.adapter is None else read_tuned(adapter_folder(card))


def adapter_folder(card: ModelCard) -> Path:
    """Return the folder of a card's adapter.

    Raises:
        ModelError: there is no such folder, or no whole adapter in it.
    """
    assert card.adapter is not None
    folder = Path(card.adapter).expanduser()
    if not folder.is_dir():
        raise ModelError(f"{card.name}: there is no adapter folder {folder}")
    if (folder / ADAPTER_CONFIGURATION).is_file() != (folder / ADAPTER).is_file():
        lacks = ADAPTER if (folder / ADAPTER_CONFIGURATION).is_file() else ADAPTER_CONFIGURATION
        raise ModelError(f"{card.name}: {folder} has no {lacks}, so its adapter is not whole")
    if not any((folder / name).is_file() for name in (ADAPTER, FULL)):
        raise ModelError(f"{card.name}: {folder} has neither {ADAPTER} nor {FULL}, so it holds no adapter")
    return folder


def adapter_revision(card: ModelCard) -> str:
    """Return a hash over the adapter's own files: 16 hexadecimal digits.

    Raises:
        ModelError: there is no adapter.
    """
    folder, digest = adapter_folder(card), hashlib.sha256()
    for name in (ADAPTER, ADAPTER_CONFIGURATION, FULL, HEAD):
        path = folder / name
        if path.is_file():
            with path.open("rb") as stream:
                digest.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
