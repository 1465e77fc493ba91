"""The run store: answers and features of one run, appended batch by batch, safe against being killed.

A batch counts once its line is in `answers.jsonl`; its features were written before. A run that is
started again finds what counts and repeats at most the one batch that did not.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from harness.passes.features import FeatureFile
from probes.sites import Site
from tasks.files import alone, json_hash, write_atomically

PREFILL = "prefill"  # the step whose features `features.safetensors` holds
BATCH = 32  # images per stored batch, whatever the engine's own batch size

_OWN_NAMES = (
    "record.json",
    "samples.jsonl",
    "probes.jsonl",
    "features.safetensors",
    "features-answer_target.safetensors",
    "log.txt",
    "report.html",
)
_STORE = "store"


class StoreError(Exception):
    """A result folder cannot be used; the message names it and the way out."""


def configuration_id(configuration: Mapping[str, Any]) -> str:
    """Return the sha256 of a configuration, independent of the order of its keys."""
    return json_hash(configuration, ascii_only=False)


class RunStore:
    """Answers and features of one result folder. Use as a context manager: it holds a lock.

    Raises:
        StoreError: the folder holds another configuration, is in use, or cannot be written.
    """

    def __init__(self, folder: Path, configuration: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder = folder
        self.configuration: dict[str, Any] = json.loads(json.dumps(configuration))  # as it is read back
        self.id = configuration_id(self.configuration)
        self._overwrite = overwrite
        self._directory = folder / _STORE
        self._answers = self._directory / "answers.jsonl"
        self._held = ExitStack()
        self._done: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self._features: dict[str, FeatureFile] = {}
        self._appended: Counter[str] = Counter()

    def __enter__(self) -> Self:
        with ExitStack() as held:
            lock = self.folder.with_name(f".{self.folder.name}.lock")
            held.enter_context(alone(self.folder, "run", StoreError, lock=lock))
            self._open()
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._features.values():
            file.close()
        if kind is not None and not self._done:
            self._remove_traces()
        self._held.close()

    def _open(self) -> None:
        if self._overwrite:
            self.clear()
        found = self._read_json(self._directory / "configuration.json")
        if found is not None and configuration_id(found) != self.id:
            changed = ", ".join(_differences(found, self.configuration)) or "its settings"
            raise StoreError(
                f"{self.folder}: holds a run with another configuration ({changed} differ); "
                "choose another --output, or replace it with --overwrite"
            )
        if found is None:
            if self._answers.exists() or any((self.folder / name).exists() for name in _OWN_NAMES):
                raise StoreError(
                    f"{self.folder}: holds results without the configuration they came from; "
                    "choose another --output, or replace them with --overwrite"
                )
            self._write_json(self._directory / "configuration.json", self.configuration)
        self._read_answers()

    def _read_json(self, path: Path) -> dict[str, Any] | None:
        if not path.exists():
            return None
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read ({error}); replace the run with --overwrite") from error
        return stored

    def _write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        try:
            write_atomically(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        except OSError as error:
            raise StoreError(
                f"{self.folder}: cannot be written ({error.strerror}); choose another --output"
            ) from error

    def clear(self) -> None:
        """Remove what an earlier run left in the folder, and nothing else.

        Raises:
            StoreError: something cannot be removed.
        """
        try:
            for name in _OWN_NAMES:
                for path in (self.folder / name, *self.folder.glob(f".{name}.*")):  # .NAME.*: half-written
                    path.unlink(missing_ok=True)
            if self._directory.exists():
                shutil.rmtree(self._directory)
        except OSError as error:
            raise StoreError(
                f"{error.filename}: cannot be removed ({error.strerror}); choose another --output"
            ) from error

    def _remove_traces(self) -> None:
        """Leave nothing behind of a run that failed before its first batch."""
        with suppress(StoreError, OSError):  # the failure itself is what the user must hear of
            self.clear()
            self.folder.rmdir()

    # -- the engine ----------------------------------------------------------------------------

    @property
    def engine(self) -> dict[str, Any] | None:
        """What `pin_engine` stored; None before."""
        return self._read_json(self._directory / "engine.json")

    def pin_engine(self, engine: Mapping[str, Any]) -> None:
        """Store what is known of an engine once it is loaded, or check that it is the stored one.

        Raises:
            StoreError: answers were stored with another engine, device type, dtype or attention.
        """
        current: dict[str, Any] = json.loads(json.dumps(engine))
        stored = self.engine
        if stored is None:
            self._write_json(self._directory / "engine.json", current)
        elif stored != current:
            raise StoreError(
                f"{self.folder}: was begun with another engine ({', '.join(_differences(stored, current))} "
                "differ); choose another --output, or replace it with --overwrite"
            )

    def _read_answers(self) -> None:
        """Read the batches that count; cut off a last line that a kill left unfinished."""
        if not self._answers.exists():
            return
        good = 0
        try:
            with self._answers.open("rb") as stream:
                for line in stream:
                    if not line.endswith(b"\n"):
                        break
                    entry = json.loads(line)
                    self._done[(entry["step"], entry["batch"])] = entry["answers"]
                    good += len(line)
            if good < self._answers.stat().st_size:
                os.truncate(self._answers, good)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self._answers}: is damaged at byte {good} ({type(error).__name__}: {error}); "
                "replace the run with --overwrite"
            ) from error

    # -- features ------------------------------------------------------------------------------

    def open_features(self, sites: Sequence[Site], images: int, *, step: str = PREFILL) -> None:
        """Reserve room for every site's features, or open what an earlier try reserved.

        Each step that stores features has a file of its own.

        Raises:
            StoreError: the disk has no room for them.
        """
        path = self.folder / ("features.safetensors" if step == PREFILL else f"features-{step}.safetensors")
        shapes = {site.key: (images, site.width) for site in sites}
        fits = FeatureFile.fits(path, shapes)
        if not fits and any(done == step for done, _ in self._done):
            raise StoreError(f"{path}: is missing or damaged although answers were stored; use --overwrite")
        try:
            opened = FeatureFile.open(path, shapes) if fits else FeatureFile.create(path, shapes)
        except OSError as error:
            need = sum(rows * width * 4 for rows, width in shapes.values()) / 2**20
            raise StoreError(
                f"{path}: cannot reserve {need:.0f} MB for features ({error.strerror}); "
                "make room, choose another --output, or watch nothing with --no-probe"
            ) from error
        self._features[step] = opened

    def features(self, key: str, rows: slice, *, step: str = PREFILL) -> np.ndarray:
        """Return a site's features of a step, shape (rows, width), float32."""
        if step not in self._features:
            raise StoreError(f"{self.folder}: no features of the step {step} were stored")
        return self._features[step].read(key, rows)

    # -- batches -------------------------------------------------------------------------------

    def pending(self, step: str, count: int) -> Iterator[tuple[int, slice]]:
        """Yield the batches of a step that are still to do, as (batch number, rows)."""
        for number, rows in enumerate(batches(count)):
            if (step, number) not in self._done:
                yield number, rows

    def append(
        self,
        step: str,
        batch: int,
        answers: Sequence[Mapping[str, Any]],
        features: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Store a batch: its features first, then the line that makes it count."""
        entry: dict[str, Any] = {"step": step, "batch": batch, "answers": list(answers)}
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            if features:
                assert step in self._features, "open_features comes before features are stored"
                first = batch * BATCH
                self._features[step].write(features, slice(first, first + len(answers)))
            _append_line(self._answers, line)
        except OSError as error:
            raise StoreError(
                f"{self.folder}: cannot be written ({error.strerror}); make room and start the command again"
            ) from error
        self._done[(step, batch)] = entry["answers"]
        self._appended[step] += len(answers)

    def appended(self, step: str) -> int:
        """Return how many images were stored for a step since the store was opened."""
        return self._appended[step]

    def answers(self, step: str, count: int) -> list[dict[str, Any]]:
        """Return all answers of a finished step, in the order of the images."""
        rows = [row for number in range(len(batches(count))) for row in self._done[(step, number)]]
        if len(rows) != count:
            raise StoreError(
                f"{self.folder}: step {step} holds {len(rows)} answers of {count}; use --overwrite"
            )
        return rows


def batches(count: int) -> list[slice]:
    """Cut `count` images into the store's batches, fixed by index."""
    return [slice(first, min(first + BATCH, count)) for first in range(0, count, BATCH)]


def _append_line(path: Path, line: bytes) -> None:
    """Append a line whole, or leave the file as it was."""
    with path.open("ab", buffering=0) as stream:
        before = stream.tell()
        try:
            written = 0
            while written < len(line):  # one write may take a part where the disk is nearly full
                written += stream.write(line[written:])
            os.fsync(stream.fileno())
        except BaseException:
            stream.truncate(before)
            raise


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name the keys in which two configurations differ."""
    named = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            named += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            named.append(f"{prefix}{key}")
    return named[:6]
