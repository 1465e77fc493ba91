"""Checkpoints of a fine-tuning: whole or absent, checked when they are read, never guessed.

Each is one safetensors file that is renamed into place; its header says in JSON what it is, with a hash over
the weights. The best weights so far have a file of their own, named by their step, so that most checkpoints
need not write them again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from model_adapters.catalog.tuned import ValidationResult
from model_adapters.interface import ModelError, one_line
from model_adapters.support.training import weights_hash
from tasks.files import replacing

_FOLDER = "checkpoint"
_STATE = "state.safetensors"
_HEADER = "about"


@dataclass(frozen=True, eq=False)
class TuningState:
    """All that a training needs to go on after `step` as if it had never stopped.

    `weights` are the trained parameters by name, `moments` the optimiser's by "name/quantity". Random numbers
    need no place: those of a step are drawn from seed and step alone. `best` are the weights that `best_step`
    left, the best of `looks`; empty before the first of these.
    """

    step: int
    looks: tuple[ValidationResult, ...]
    weights: Mapping[str, Tensor] = field(repr=False)
    moments: Mapping[str, Tensor] = field(repr=False)
    best_step: int | None
    best: Mapping[str, Tensor] = field(repr=False)


class Checkpoints:
    """The checkpoint of one tuned folder; `key` stands for all that decides the weights."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder / _FOLDER
        self._key = key
        self._stored_best: tuple[int, str] | None = None  # step and hash of the best weights on disk

    def read(self) -> TuningState | None:
        """Return the last checkpoint, None where there is none.

        Raises:
            ModelError: it is damaged, or belongs to another tuning.
        """
        path = self.folder / _STATE
        if not path.is_file():
            return None
        about, tensors = self._read(path)
        best_step = about["best_step"]
        best: dict[str, Tensor] = {}
        if best_step is not None:
            best_about, best = self._read(self.folder / _best(best_step))
            if best_about["hash"] != about["best_hash"]:
                raise self._damaged(self.folder / _best(best_step), "its weights are of another tuning")
            self._stored_best = (best_step, best_about["hash"])
        return TuningState(
            step=about["step"],
            looks=tuple(ValidationResult(**look) for look in about["looks"]),
            weights={k.partition("/")[2]: v for k, v in tensors.items() if k.startswith("weight/")},
            moments={k.partition("/")[2]: v for k, v in tensors.items() if k.startswith("moment/")},
            best_step=best_step,
            best=best,
        )

    def write(self, state: TuningState) -> None:
        """Replace the checkpoint.

        Raises:
            ModelError: the folder cannot be written.
        """
        try:
            if state.best_step is None:
                self._stored_best = None
            elif self._stored_best is None or self._stored_best[0] != state.best_step:
                written = self._write(_best(state.best_step), state.best, {})
                self._stored_best = (state.best_step, written)
            best_hash = self._stored_best and self._stored_best[1]
            tensors = {f"weight/{name}": tensor for name, tensor in state.weights.items()}
            tensors |= {f"moment/{name}": tensor for name, tensor in state.moments.items()}
            looks = [look.model_dump() for look in state.looks]
            about = {"step": state.step, "looks": looks, "best_step": state.best_step, "best_hash": best_hash}
            self._write(_STATE, tensors, about)
            for old in self.folder.glob("best-*.safetensors"):
                if state.best_step is None or old.name != _best(state.best_step):
                    old.unlink()
        except OSError as error:
            raise ModelError(f"{self.folder}: cannot be written ({error.strerror})") from error

    def remove(self) -> None:
        """Delete the checkpoint: the tuned model is written, or training is to begin anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._stored_best = None

    def _write(self, name: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
        from safetensors.torch import save_file

        digest = weights_hash(tensors)
        header = {"key": self._key, "hash": digest, **about}
        with replacing(self.folder / name, exclusive=True) as part:
            save_file(dict(tensors), part, metadata={_HEADER: json.dumps(header)})
        return digest

    def _read(self, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as kept:
                about: dict[str, Any] = json.loads(kept.metadata()[_HEADER])
                tensors = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
            key, stated = about["key"], about["hash"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise self._damaged(path, one_line(error)) from error
        if key != self._key:
            raise ModelError(
                f"{path}: is the checkpoint of another tuning (settings, images, base or library versions "
                "differ); choose another --output, or begin anew with --overwrite"
            )
        if stated != weights_hash(tensors):
            raise self._damaged(path, "its weights are not those that were written")
        return about, tensors

    def _damaged(self, path: Path, reason: str) -> ModelError:
        return ModelError(f"{path}: the checkpoint is damaged ({reason}); begin anew with --overwrite")


def _best(step: int) -> str:
    return f"best-{step:06d}.safetensors"
