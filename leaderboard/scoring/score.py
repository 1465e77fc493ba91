"""The one scorer: every score of a record, from its lines. A run files what it gives, a verifier calls it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from leaderboard.record.checks import AnswerTargetPart, FloorsPart, SimilarityPart
from leaderboard.record.record import (
    AnswersPart,
    DiagnosisPart,
    Headline,
    HealthPart,
    PermutationPart,
    ProbePart,
    Record,
    RecordError,
)
from leaderboard.record.samples import ProbeLine, SampleLine
from leaderboard.scoring.answers import score_answers
from leaderboard.scoring.diagnosis import score_diagnosis, signal_tests
from leaderboard.scoring.floors import DeclaredFloors, score_floors
from leaderboard.scoring.health import score_health
from leaderboard.scoring.letters import score_answer_target
from leaderboard.scoring.probes import SiteKey, connector_inert, score_probes
from tasks.questions import letters_prompt
from tasks.spec import TaskSpec

SCORING_VERSION = 2  # raised when a score is computed differently


@dataclass(frozen=True, eq=False)
class Lines:
    """What a run filed: a line an image of all splits, and the probes' lines, none where nothing was probed."""

    samples: Sequence[SampleLine] = field(repr=False)
    probes: Sequence[ProbeLine] = field(default=(), repr=False)


@dataclass(frozen=True, eq=False)
class Declared:
    """What lines cannot show, since it needs the features or the model.

    `permutation_p` holds, by readout, site and pool, the p-value of a probe under permuted labels. `floors` are
    there where anything was probed. `seed` is that of every bootstrap.
    """

    task: TaskSpec
    headline: Headline
    seed: int
    permutation: PermutationPart | None = None
    permutation_p: Mapping[SiteKey, float] = field(default_factory=dict)
    floors: DeclaredFloors | None = None
    similarity: SimilarityPart | None = None

    @classmethod
    def of(cls, record: Record, task: TaskSpec) -> Declared:
        """Return what a record declares; `task` is the one that it is about.

        Raises:
            RecordError: the record has no answers, so that it does not say by what it is headed.
        """
        if record.answers is None:
            raise RecordError("record.json: answers: null, though the record is complete")
        return cls(
            task,
            record.answers.headline_source,
            record.provenance.seed,
            record.permutation,
            {
                (p.readout, p.site, p.pool): p.permutation_p
                for p in record.probes
                if p.permutation_p is not None
            },
            None if record.floors is None else DeclaredFloors.of(record.floors),
            record.similarity,
        )


@dataclass(frozen=True, eq=False)
class Scores:
    """The parts of a record that follow from its lines, under the record's own keys."""

    answers: AnswersPart
    health: HealthPart | None = None
    probes: tuple[ProbePart, ...] = ()
    floors: FloorsPart | None = None
    answer_target: tuple[AnswerTargetPart, ...] | None = None
    similarity: SimilarityPart | None = None
    diagnosis: DiagnosisPart | None = None


def score(lines: Lines, declared: Declared) -> Scores:
    """Score the answers, and what was probed: layers, health, floors, letters, the connector, the verdict.

    Raises:
        ValueError: probes' lines without what their floors declare.
    """
    task, headline, seed = declared.task, declared.headline, declared.seed
    samples, probed, classes = lines.samples, lines.probes, len(task.classes)
    answers = score_answers(
        samples, classes=classes, headline=headline, primary_prompt=task.primary_prompt, seed=seed
    )
    if not probed:
        return Scores(answers)
    if declared.floors is None:
        raise ValueError("probes were filed without what their floors declare")
    test = [line for line in samples if line.split == "test"]
    probes = score_probes(probed, test, declared.permutation_p, seed=seed)
    floors = score_floors(probed, test, declared.floors, seed=seed)
    letters = letters_prompt(task)
    return Scores(
        answers,
        score_health(probed, test, final=answers.accuracy.value, seed=seed),
        probes,
        floors,
        answer_target=score_answer_target(probed, test, letters.id) if letters else None,
        similarity=_similarity(declared.similarity, probed, test, classes, seed),
        diagnosis=score_diagnosis(
            samples,
            probed,
            classes=classes,
            headline=headline,
            signal=signal_tests(probes, declared.permutation, floors),
            reference=floors.reference.detail,
            seed=seed,
        ),
    )


def _similarity(
    similarity: SimilarityPart | None,
    lines: Sequence[ProbeLine],
    test: Sequence[SampleLine],
    classes: int,
    seed: int,
) -> SimilarityPart | None:
    """Of the similarity only what the probes' predictions say is computed: whether the connector is inert."""
    if similarity is None:
        return None
    labels, groups = np.array([line.label for line in test]), [line.group for line in test]
    inert = connector_inert(lines, labels, groups, classes, margin=similarity.inert_margin, seed=seed)
    return similarity.model_copy(update={"connector_inert": inert})
