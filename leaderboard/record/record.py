"""The one definition of a result: what `record.json` holds, key by key.

Keys are part of the project's contract: they may be added to, never renamed or removed. Numbers that
were not measured are null, never a stand-in. Only `cost` and `provenance` may differ between two runs
of the same thing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError

from leaderboard.record.checks import AnswerTargetPart, CausalPart, FloorsPart, ProjectionPart, SimilarityPart
from leaderboard.record.parts import CostPart, Interval, ModelPart, Part, ProvenancePart, TaskPart, TuningPart
from probes.sites import Module, Pool

Status = Literal["complete", "partial", "failed"]
Condition = Literal["released", "lora"]
Headline = Literal["scores", "generated"]
Verdict = Literal["vision", "connector", "comprehension", "mapping", "healthy", "no_signal", "undetermined"]


class RecordError(Exception):
    """A record or result folder is missing, malformed or inconsistent; the message names where."""


class Outcomes(Part):
    """What became of each test image under the headline; the four are never merged."""

    correct: int
    wrong: int
    no_answer: int
    error: int

    @classmethod
    def of(cls, found: Iterable[str]) -> Self:
        """Count what became of the images."""
        counted = Counter(found)
        return cls(**{name: counted[name] for name in cls.model_fields})


class ReliabilityBin(Part):
    """Test images whose top probability falls into one bin: its mean, and the share that is right."""

    confidence: float
    accuracy: float
    count: int


class AnswersPart(Part):
    """How well the model answers.

    The headline (`accuracy` and the metrics beside it) is the argmax of the primary prompt's label
    scores where `headline_source` is "scores", else the parsed free text. An unread answer or an
    error counts as not correct. `order_consistency` is the share of images that got the same class
    under every option order that was asked; `prompt_spread` the largest minus the smallest accuracy
    over the task's label prompts; `letters_accuracy` the mean accuracy on option letters.

    `prompt_spread_interval` is simultaneous over all pairs of prompts, from paired draws of whole groups: it
    starts at 0 where no two prompts can be told apart, although the largest of several noisy accuracies is
    above the smallest. `order_accuracies` goes by "prompt/0-2-1" for an option order that every image was
    asked under, the classes from option A on, and by "prompt/right at A" for the questions whose right
    option was A.
    `confusion` has a row for each true class and a column for each predicted one, the last column counting
    the images that got no class. `label_prior` is the mean probability of each class over the test images.
    `mapped` holds the balanced accuracy of the label scores as they are and after three maps fitted on
    the images that the probes are fitted on: "plain" (G0), "without_prior" (G1), "relabelled" (G2),
    "logistic" (G3); null where the scores of those images are not there. `relabelling[k]` is the class
    that the answer k stands for under the second map, `relabelling_p` the exact two-sided McNemar p of the
    relabelled against the plain answers. `reliability` are the bins behind the calibration error.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    auroc: Interval | None
    ece: Interval | None
    headline_source: Headline
    outcomes: Outcomes
    generated_accuracy: Interval | None
    generated_outcomes: Outcomes | None
    letters_accuracy: Interval | None
    order_consistency: Interval | None
    prompt_accuracies: dict[str, Interval]
    prompt_spread: float | None
    prompt_spread_interval: Interval | None = None
    order_accuracies: dict[str, Interval] = {}
    majority_accuracy: float
    confusion: tuple[tuple[int, ...], ...] | None = None
    label_prior: tuple[float, ...] | None = None
    mapped: dict[str, Interval] | None = None
    relabelling: tuple[int, ...] | None = None
    relabelling_p: float | None = None
    reliability: tuple[ReliabilityBin, ...] | None = None


class ModuleHealthPart(Part):
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


class HealthProfile(Part):
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


class ProbePart(Part):
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


class PermutationPart(Part):
    """What probes reach on permuted training labels (whole groups), by a ridge classifier at every site.

    `highest` is the 95% quantile, over the draws, of the highest balanced accuracy among all sites: a
    probe above it carries signal. `bands` holds for every "site.pool" the quantiles 0.05, 0.5 and 0.95 of
    the balanced accuracy under permuted labels; `vision_p` the smallest p-value among the vision layers,
    each compared with the highest of them in the same draw.
    """

    draws: int
    highest: float
    vision_p: float | None = None
    bands: dict[str, tuple[float, float, float]] = {}


class GapPart(Part):
    """A difference between two places, in chance-corrected accuracy A, and in points of plain accuracy.

    `p` is one-sided, for a difference of 0 or less.
    """

    value: float
    low: float
    high: float
    p: float
    points: float


class Drop(Part):
    """One term of the waterfall, in chance-corrected accuracy A, and in accuracy points.

    `p` is one-sided and Holm-adjusted over the terms that could be assessed. `probability_largest` is the
    share of draws in which no other term is larger; `visible_gap` the true drop that these test images
    would show as significant in 80% of cases.
    """

    mode: str
    value: float
    low: float
    high: float
    p: float
    points: float
    probability_largest: float
    significant: bool = False
    visible_gap: float | None = None


class DiagnosisPart(Part):
    """Where the signal is lost, as far as the data can say.

    `reason` says why this verdict was given; `sentences` what is wrong and how sure that is, then what
    would mend it. `parts` are the differences reported beside the four terms, by name, `levels` the
    chance-corrected balanced accuracy A at every place from "reference" to "answers", and `accuracies`
    the plain accuracy there in points. `probabilities` holds the share of bootstrap draws that
    pick each stage, `healthy_probability` that of the draws in which no stage loses `delta` or more;
    `rule` names how the stage is chosen.
    """

    verdict: Verdict
    stages: tuple[str, ...]
    details: tuple[str, ...]
    drops: tuple[Drop, ...]
    reference: str | None
    smallest_visible_gap: float | None
    reason: str = ""
    sentences: tuple[str, str] | None = None
    parts: dict[str, GapPart] = {}
    levels: dict[str, float] = {}
    accuracies: dict[str, float] = {}
    probabilities: dict[str, float] = {}
    healthy_probability: float | None = None
    rule: str = ""
    delta: float | None = None


class Record(Part):
    """One model on one task."""

    schema_version: Literal[1] = 1
    status: Status
    error: str | None = None  # why a run failed or what makes it partial
    model: ModelPart
    task: TaskPart
    condition: Condition
    tuning: TuningPart | None = None  # null as released, and where an adapter's origin is not known
    answers: AnswersPart | None
    health: HealthPart | None
    probes: tuple[ProbePart, ...]
    permutation: PermutationPart | None = None
    diagnosis: DiagnosisPart | None
    floors: FloorsPart | None = None
    answer_target: tuple[AnswerTargetPart, ...] | None = None
    similarity: SimilarityPart | None = None
    projection: ProjectionPart | None = None  # null where all widths are equal and small
    causal: CausalPart | None = None  # null where it was not asked for (--causal), or not possible
    causal_detail: str | None = None  # why a causal check that was asked for was not possible
    configuration: dict[str, Any]  # everything that can change an answer; its hash guards the folder
    cost: CostPart
    provenance: ProvenancePart

    @property
    def full_name(self) -> str:
        """The model's name, with "@" and the condition where that is not released."""
        return self.model.name if self.condition == "released" else f"{self.model.name}@{self.condition}"


def read_record(path: Path) -> Record:
    """Read and check a `record.json`.

    Raises:
        RecordError: the file is missing, is no JSON, or breaks the schema.
    """
    try:
        return Record.model_validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); is this a result folder?") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RecordError(f"{path}: {where}: {first['msg']}") from error


def dump_record(record: Record) -> str:
    """Return the record as JSON text, keys in the order of the schema, ending in a newline."""
    return record.model_dump_json(indent=2) + "\n"


def entry_summary(record: Record, folder: str) -> dict[str, Any]:
    """Return what a `leaderboard.json` holds of a record, in a results folder and on a board alike.

    `folder` is the result's, below that of the `leaderboard.json`, with forward slashes.
    """
    answers, health = record.answers, record.health
    return {
        "model": record.model.name,
        "role": record.model.role,
        "engine": record.model.engine,
        "revision": record.model.revision,
        "parameters": record.model.parameters,
        "condition": record.condition,
        "task": record.task.name,
        "task_version": record.task.version,
        "dataset_fingerprint": record.task.dataset_fingerprint,
        "official_data": record.task.official_data,
        "seen_in_training": record.model.seen_in_training,
        "status": record.status,
        "accuracy": _dumped(answers.accuracy) if answers else None,
        "balanced_accuracy": _dumped(answers.balanced_accuracy) if answers else None,
        "generated_accuracy": _dumped(answers.generated_accuracy) if answers else None,
        "majority_accuracy": answers.majority_accuracy if answers else None,
        "headline_source": answers.headline_source if answers else None,
        "profile": list(health.profile) if health else None,
        "readout": health.readout if health else None,
        "verdict": record.diagnosis.verdict if record.diagnosis else None,
        "folder": folder,
    }


def by_task_and_accuracy(entry: dict[str, Any]) -> tuple[Any, ...]:
    """The order of entries: by task, complete ones first, then by accuracy, best first."""
    accuracy = entry["accuracy"]["value"] if entry["accuracy"] else -1.0
    return (entry["task"], entry["status"] != "complete", -accuracy, entry["model"], entry["condition"])


def _dumped(interval: Interval | None) -> dict[str, Any] | None:
    return interval.model_dump() if interval else None
