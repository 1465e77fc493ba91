"""Keep trained classifiers in a folder, each a safetensors file whose header says in JSON what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from model_adapters.engines.classifier.training import Evaluation, TrainedClassifier
from model_adapters.support.training import weights_hash
from tasks.files import kept_or_made

_HEADER = "about"  # the one entry of the file's metadata


def stored_or_trained(folder: Path, key: str, train: Callable[[], TrainedClassifier]) -> TrainedClassifier:
    """Return what is kept under a key, else train and keep it; two processes at once train once.

    A damaged file is trained anew. A folder that cannot be written costs the next run its time, no more.
    """
    path = folder / f"{key}.safetensors"
    return kept_or_made(path, read=partial(_read, key), make=train, write=partial(_write, key))


def _write(key: str, trained: TrainedClassifier, path: Path) -> None:
    from safetensors.torch import save_file

    about = {
        "key": key,
        "weights": weights_hash(trained.weights),
        "mean": trained.mean,
        "deviation": trained.deviation,
        "kept": asdict(trained.kept),
        "evaluations": [asdict(one) for one in trained.evaluations],
    }
    save_file(trained.weights, path, metadata={_HEADER: json.dumps(about)})


def _read(key: str, path: Path) -> TrainedClassifier:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as kept:
            about: dict[str, Any] = json.loads(kept.metadata()[_HEADER])
            weights = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error)) from error
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
