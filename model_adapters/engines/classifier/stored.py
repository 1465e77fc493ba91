"""Keep trained classifiers in a folder, each a safetensors file whose header says in JSON what it is."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock

from model_adapters.engines.classifier.training import Evaluation, TrainedClassifier
from model_adapters.support.training import weights_hash

_HEADER = "about"  # the one entry of the file's metadata
_log = logging.getLogger(__name__)


def stored_or_trained(folder: Path, key: str, train: Callable[[], TrainedClassifier]) -> TrainedClassifier:
    """Return what is kept under a key, else train and keep it; two processes at once train once.

    A damaged file is trained anew. A folder that cannot be written costs the next run its time, no more.
    """
    path = folder / f"{key}.safetensors"
    lock = FileLock(f"{path}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        _log.warning("%s: the classifier cannot be kept (%s); set HARNESS_CACHE_DIR", path, error)
        return train()
    try:
        trained = _read(path, key)
        if trained is None:
            trained = train()
            _write(path, key, trained)
        return trained
    finally:
        lock.release()


def _write(path: Path, key: str, trained: TrainedClassifier) -> None:
    from safetensors.torch import save_file

    about = {
        "key": key,
        "weights": weights_hash(trained.weights),
        "mean": trained.mean,
        "deviation": trained.deviation,
        "kept": asdict(trained.kept),
        "evaluations": [asdict(one) for one in trained.evaluations],
    }
    part = path.with_suffix(".part")
    try:
        save_file(trained.weights, part, metadata={_HEADER: json.dumps(about)})
        os.replace(part, path)
    except OSError as error:
        _log.warning("%s: the classifier cannot be kept (%s); set HARNESS_CACHE_DIR", path, error)


def _read(path: Path, key: str) -> TrainedClassifier | None:
    """Return what is kept, or None where there is nothing or it is damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as kept:
            about: dict[str, Any] = json.loads(kept.metadata()[_HEADER])
            weights = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
        if about["key"] != key:
            raise ValueError("it belongs to other images or settings")
        if about["weights"] != weights_hash(weights):
            raise ValueError("its weights are not those that were written")
        return TrainedClassifier(
            mean=tuple(map(float, about["mean"])),
            deviation=tuple(map(float, about["deviation"])),
            kept=Evaluation(**about["kept"]),
            evaluations=tuple(Evaluation(**one) for one in about["evaluations"]),
            weights=weights,
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, SafetensorError) as error:
        _log.warning("%s: the classifier is damaged (%s); training it anew", path, error)
        return None
