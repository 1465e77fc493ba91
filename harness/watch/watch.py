"""What a run finds out about a model's layers and about its floors, ready to be filed."""

from __future__ import annotations

from dataclasses import dataclass

from harness.passes.asking import ask
from harness.passes.context import Run
from harness.watch.causal import CausalCheck, causal_check
from harness.watch.floor_lines import find_floors
from harness.watch.layer_checks import connector_similarity, projection_check
from harness.watch.letters_target import fit_letters, letters_pass
from harness.watch.probing import FittedProbes, fit_probes
from leaderboard.record.checks import ProjectionPart, SimilarityPart
from leaderboard.record.samples import ProbeLine
from leaderboard.scoring.floors import DeclaredFloors


@dataclass(frozen=True)
class LayerFindings:
    """Probes, floors and checks of one run. `floor_lines` and `letter_lines` follow the probes' lines."""

    probes: FittedProbes
    floors: DeclaredFloors
    floor_lines: tuple[ProbeLine, ...]
    letter_lines: tuple[ProbeLine, ...] = ()
    similarity: SimilarityPart | None = None
    projection: ProjectionPart | None = None
    causal: CausalCheck | None = None  # None where it was not asked for

    @property
    def lines(self) -> tuple[ProbeLine, ...]:
        """Every line of `probes.jsonl`, in its order."""
        return (*self.probes.lines, *self.letter_lines, *self.floor_lines)


def watch(run: Run) -> LayerFindings:
    """Ask for the letters, find the floors, probe what the layers carry, and on request what is used.

    Raises:
        DataError, ModelError, StoreError: a floor or a probe cannot be had, or the store cannot be written.
    """
    timing, letters = run.timing, letters_pass(run)
    with timing.of("letters"):
        ask(run, letters)
    floor_lines, floors = find_floors(run)
    with timing.of("probe"):
        probes = fit_probes(run)
    with timing.of("letters"):
        letter_lines = fit_letters(run, letters.images)
    with timing.of("checks"):
        similarity = connector_similarity(run, probes.lines)
        projection = projection_check(run, probes.lines)
    causal = None
    if run.options.causal:
        with timing.of("causal"):
            causal = causal_check(run)
    return LayerFindings(probes, floors, floor_lines, letter_lines, similarity, projection, causal)
