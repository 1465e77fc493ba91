"""The results file: one line a finished case, appended whole, read back after any kill.

Beside it is kept of every run what it takes to judge it again under any rule, without the model.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.files import write_atomically
from tools.faultbench.cases import Case

PLAIN = ("record.json",)
PACKED = ("samples.jsonl", "probes.jsonl")


@dataclass(frozen=True)
class Judged:
    """What the kept files of a case say under every rule.

    `code` identifies the code that judged; `default` is the rule that `harness eval` uses. `levels` hold A
    by locus, `drops` the four terms in points and `seconds` what recomputing the verdict took.
    """

    code: str
    default: str
    verdicts: Mapping[str, str]
    reason: str
    stages: tuple[str, ...]
    details: tuple[str, ...]
    levels: Mapping[str, float]
    drops: Mapping[str, float]
    smallest_visible_gap: float
    seconds: float

    @property
    def verdict(self) -> str:
        """What the shipped rule says."""
        return self.verdicts[self.default]


@dataclass(frozen=True)
class Result:
    """One finished case.

    `recorded` is the verdict that `harness eval` filed, `accuracy` the answers' headline accuracy in
    points, `seconds` the wall time by step: "model" (training or planting), then the run's own steps.
    """

    key: str
    case: Case
    judged: Judged
    recorded: str | None
    accuracy: float
    revision: str  # hash of the judged model's weights
    versions: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    finished: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Result:
        """Return the result of `to_json`."""
        values = dict(stored)
        judged = dict(values["judged"])
        judged |= {name: tuple(judged[name]) for name in ("stages", "details")}
        return cls(**{**values, "case": Case.from_json(values["case"]), "judged": Judged(**judged)})


class ResultsFile:
    """Lines of results. Only one process may write; a last line that a kill left unfinished is cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Result]:
        """Return the latest result of every key."""
        if not self.path.exists():
            return {}
        whole = self.path.read_bytes().rpartition(b"\n")[0]
        found = (Result.from_json(json.loads(line)) for line in whole.splitlines() if line.strip())
        return {result.key: result for result in found}

    def append(self, result: Result) -> None:
        """Add a line and bring it to the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(result.to_json(), allow_nan=False).encode() + b"\n"
        with self.path.open("a+b") as stream:
            stream.seek(0)
            stream.truncate(stream.read().rfind(b"\n") + 1)
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())

    def replace(self, results: Iterable[Result]) -> None:
        """Write the whole file anew, in one step."""
        lines = (json.dumps(result.to_json(), allow_nan=False) + "\n" for result in results)
        write_atomically(self.path, "".join(lines))


def latest(results: Iterable[Result]) -> list[Result]:
    """Return one result a case, the one that finished last: a case may stand there under older versions."""
    by_name: dict[str, Result] = {}
    for result in results:
        known = by_name.get(result.case.name)
        if known is None or result.finished >= known.finished:
            by_name[result.case.name] = result
    return list(by_name.values())


def judged_anew(result: Result, judged: Judged) -> Result:
    """Return the result with another judgement of the same files."""
    return replace(result, judged=judged)


def keep(run: Path, folder: Path) -> None:
    """Copy the files of a finished run's folder that a verdict follows from; whole or not at all."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in PLAIN:
        shutil.copyfile(run / name, partial / name)
    for name in PACKED:
        # Without a time stamp, so that equal runs keep equal bytes.
        packed = gzip.compress((run / name).read_bytes(), compresslevel=6, mtime=0)
        (partial / f"{name}.gz").write_bytes(packed)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def is_kept(folder: Path) -> bool:
    """Tell whether a run was kept here."""
    return (folder / "record.json").is_file()


@contextmanager
def unpacked(folder: Path) -> Iterator[Path]:
    """Give a result folder with the kept files as `harness eval` wrote them."""
    with tempfile.TemporaryDirectory() as made:
        target = Path(made)
        for name in PLAIN:
            shutil.copyfile(folder / name, target / name)
        for name in PACKED:
            with gzip.open(folder / f"{name}.gz", "rb") as source, (target / name).open("wb") as file:
                shutil.copyfileobj(source, file)
        yield target
