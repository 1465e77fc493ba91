"""What every part of a result is made of, and the parts that say who answered, about which images, at what cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from probes.stats.metrics import Estimate


class Part(BaseModel):
    """A frozen part of a result: unknown keys and numbers that are not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(Part):
    """A measured value with its 95% interval and the number of images behind it."""

    value: float
    low: float
    high: float
    n: int = Field(ge=1)

    @classmethod
    def of(cls, measured: Estimate) -> Self:
        """Return a measured value as a record holds it."""
        return cls(value=measured.value, low=measured.low, high=measured.high, n=measured.n)


class ParityPart(Part):
    """How well the answers of a fast engine agree with those of the transformers engine, on a few images.

    `top1_agreement` and `same_text` are shares of the images, `largest_difference` that of a label's
    log-likelihood in nats. Null where nothing could be compared; `detail` says why.
    """

    images: int
    top1_agreement: float | None
    largest_difference: float | None
    same_text: float | None
    detail: str | None = None


class ModelPart(Part):
    """Which model answered, in which state.

    A `role` of "reference" is that of a classifier trained on the task's own train split. `watched_by` names the
    engine that showed the layers where it is another than the one that answered. `seen_in_training` says
    whether the task's images are known to be among those that the model was trained on; null where that is
    not known. `remarks` is what the engine said about the model when it was loaded. `base` names the general
    model that this one was made from, `family` the kind of a classifier; null where the card does not say.
    """

    name: str
    hub_id: str | None
    revision: str  # hub commit, or a hash over a local folder's files
    architecture: str
    parameters: int
    engine: str
    dtype: str
    role: Literal["model", "reference"] = "model"
    watched_by: str | None = None
    parity: ParityPart | None = None
    seen_in_training: bool | None = None
    remarks: tuple[str, ...] = ()
    base: str | None = None
    family: str | None = None


class TuningPart(Part):
    """On what a fine-tuned model was tuned, and whether its probes saw the same images.

    `disjoint` says that no image of the probes' training, nor of its patient or near-duplicates, could be
    tuned on; else `n_shared` of them could. `n_test_shared` counts the test images of which that holds: none,
    unless the task splits its images otherwise than `task`. `settings` is a hash of all tuning settings.
    """

    task: str
    task_version: int
    part: Literal["language", "vision"]
    base_revision: str
    settings: str
    n_tuning: int  # images that were tuned on
    steps: int  # that were taken; the weights are those after `kept` of them
    kept: int
    disjoint: bool
    n_shared: int
    n_test_shared: int


class TaskPart(Part):
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


class UsagePart(Part):
    """What a server was asked for since the run was last started; `cost` is null without known prices."""

    requests: int
    retries: int
    failures: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    currency: str | None


class CostPart(Part):
    """What the run took since it was last started; free to differ between two runs of the same thing.

    `images_per_second` counts the images that were asked about in that time; null where all had been before.
    """

    seconds: dict[str, float]
    images_per_second: float | None
    peak_memory_bytes: int | None
    device: str
    device_memory_bytes: int | None = None  # the most that was in use on the GPU
    usage: UsagePart | None = None


class ProvenancePart(Part):
    """Where the record comes from; free to differ between two runs of the same thing."""

    harness_version: str
    git: str | None
    python: str
    packages: dict[str, str]
    command: str
    seed: int
    started: str
    finished: str
