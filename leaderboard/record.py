"""The one definition of a result: what `record.json` holds, key by key.

Keys are part of the project's contract: they may be added to, never renamed or removed. Numbers that
were not measured are null, never a stand-in. Only `cost` and `provenance` may differ between two runs
of the same thing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from probes.sites import Module, Pool

Status = Literal["complete", "partial", "failed"]
Condition = Literal["released", "lora"]
Verdict = Literal["vision", "connector", "comprehension", "mapping", "healthy", "no_signal", "undetermined"]


class RecordError(Exception):
    """A record or result folder is missing, malformed or inconsistent; the message names where."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(_Part):
    """A measured value with its 95% interval and the number of images behind it."""

    value: float
    low: float
    high: float
    n: int = Field(ge=1)


class ModelPart(_Part):
    """Which model answered, in which state."""

    name: str
    hub_id: str | None
    revision: str  # hub commit, or a hash over a local folder's files
    architecture: str
    parameters: int
    engine: str
    dtype: str


class TaskPart(_Part):
    """Which images were asked about. `official_data` is true only where published hashes matched."""

    name: str
    version: int
    classes: tuple[str, ...]
    dataset_fingerprint: str
    official_data: bool
    n_train: int
    n_val: int
    n_test: int
    grouped_by: str
    dropped_train: int  # images left out of train because their group is in another split
    dropped_val: int
    val_cut_from_train: int


class Outcomes(_Part):
    """What became of each test image under the headline; the four are never merged."""

    correct: int
    wrong: int
    no_answer: int
    error: int


class AnswersPart(_Part):
    """How well the model answers.

    The headline (`accuracy` and the metrics beside it) is the argmax of the primary prompt's label
    scores where `headline_source` is "scores", else the parsed free text. An unread answer or an
    error counts as not correct. `order_consistency` is the share of images that got the same class
    under every option order that was asked; `prompt_spread` the largest minus the smallest accuracy
    over the task's label prompts; `letters_accuracy` the mean accuracy on option letters.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    auroc: Interval | None
    ece: Interval | None
    headline_source: Literal["scores", "generated"]
    outcomes: Outcomes
    generated_accuracy: Interval | None
    generated_outcomes: Outcomes | None
    letters_accuracy: Interval | None
    order_consistency: Interval | None
    prompt_accuracies: dict[str, Interval]
    prompt_spread: float | None
    majority_accuracy: float


class ModuleHealthPart(_Part):
    """The Feature Health Score of one module and what it is made of (arXiv 2604.08333)."""

    start: float
    end: float
    min: float
    growth_factor: float
    volatility_penalty: float
    fhs: float
    low: float
    high: float
    fhs_noise: float
    noise_limited: bool
    pool: Pool


class HealthProfile(_Part):
    """The four-part profile of one readout."""

    vision: ModuleHealthPart
    connector: ModuleHealthPart
    llm: ModuleHealthPart
    llm_mean: ModuleHealthPart  # the image tokens' mean, beside the last prompt token
    final: float  # the headline accuracy
    profile: tuple[float, float, float, float]  # FHS of vision, connector, llm, then final


class HealthPart(HealthProfile):
    """The profile of the readout that a verdict uses, and that of every readout that ran."""

    readout: str
    by_readout: dict[str, HealthProfile]


class ProbePart(_Part):
    """One probed site under one readout, measured on the test images."""

    site: str
    module: Module
    layer: int
    pool: Pool
    readout: str
    seeds: tuple[int, ...]
    consumed: bool
    accuracy: Interval
    balanced_accuracy: Interval
    auroc: Interval | None
    permutation_p: float | None  # null where this readout has no permutation null of its own


class PermutationPart(_Part):
    """What probes reach on permuted training labels (whole groups), by a ridge classifier at every site.

    `highest` is the 95% quantile, over the draws, of the highest balanced accuracy among all sites: a
    probe above it carries signal.
    """

    draws: int
    highest: float


class Drop(_Part):
    """One term of the waterfall, in chance-corrected accuracy A, and in accuracy points."""

    mode: str
    value: float
    low: float
    high: float
    p: float
    points: float
    probability_largest: float


class DiagnosisPart(_Part):
    """Where the signal is lost, as far as the data can say."""

    verdict: Verdict
    stages: tuple[str, ...]
    details: tuple[str, ...]
    drops: tuple[Drop, ...]
    reference: str | None
    smallest_visible_gap: float | None


class CostPart(_Part):
    """What the run took; free to differ between two runs of the same thing."""

    seconds: dict[str, float]
    images_per_second: float | None
    peak_memory_bytes: int | None
    device: str


class ProvenancePart(_Part):
    """Where the record comes from; free to differ between two runs of the same thing."""

    harness_version: str
    git: str | None
    python: str
    packages: dict[str, str]
    command: str
    seed: int
    started: str
    finished: str


class Record(_Part):
    """One model on one task."""

    schema_version: Literal[1] = 1
    status: Status
    error: str | None = None  # why a run failed or what makes it partial
    model: ModelPart
    task: TaskPart
    condition: Condition
    answers: AnswersPart | None
    health: HealthPart | None
    probes: tuple[ProbePart, ...]
    permutation: PermutationPart | None = None
    diagnosis: DiagnosisPart | None
    configuration: dict[str, Any]  # everything that can change an answer; its hash guards the folder
    cost: CostPart
    provenance: ProvenancePart


def read_record(path: Path) -> Record:
    """Read and check a `record.json`.

    Raises:
        RecordError: the file is missing, is no JSON, or breaks the schema.
    """
    try:
        return Record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); is this a result folder?") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RecordError(f"{path}: {where}: {first['msg']}") from error


def dump_record(record: Record) -> str:
    """Return the record as JSON text, keys in the order of the schema, ending in a newline."""
    return record.model_dump_json(indent=2) + "\n"
