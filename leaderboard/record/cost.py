"""What a run took, and where its record comes from: the parts that two runs of the same thing may differ in."""

from __future__ import annotations

from leaderboard.record.base import Part


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
