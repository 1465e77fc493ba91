"""What a result says of the model that answered."""

from __future__ import annotations

from typing import Literal

from leaderboard.record.base import Part


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
