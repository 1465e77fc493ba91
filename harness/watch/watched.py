"""What a run found out about a model's layers and about its floors, ready to be filed."""

from __future__ import annotations

from dataclasses import dataclass

from harness.watch.causal import CausalCheck
from harness.watch.probing import Judgement
from leaderboard.record.checks import ProjectionPart, SimilarityPart
from leaderboard.record.samples import ProbeLine
from leaderboard.scoring.floors import DeclaredFloors


@dataclass(frozen=True)
class Watched:
    """Probes, floors and checks of one run. `floor_lines` and `letter_lines` follow the probes' lines."""

    judgement: Judgement
    floors: DeclaredFloors
    floor_lines: tuple[ProbeLine, ...]
    letter_lines: tuple[ProbeLine, ...] = ()
    similarity: SimilarityPart | None = None
    projection: ProjectionPart | None = None
    causal: CausalCheck | None = None  # None where it was not asked for

    @property
    def lines(self) -> tuple[ProbeLine, ...]:
        """Every line of `probes.jsonl`, in its order."""
        return (*self.judgement.lines, *self.letter_lines, *self.floor_lines)
