"""Lines that say what no ordinary run says, with whatever record: refused in one line or taken, never a crash."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaderboard.board.folder import BoardFolder, open_board
from leaderboard.record.record import RecordError
from leaderboard.record.samples import ProbeLine, SampleLine
from leaderboard.scoring.reading import outcome
from leaderboard.scoring.recompute import recompute
from leaderboard.scoring.score import Lines
from leaderboard.verify.submit import submit
from leaderboard.verify.verify import verify
from tests.leaderboard.lines import CLASSES, MadeUp
from tests.leaderboard.made_submission import made_board, made_record, made_run, small_task, write_result

Scores = tuple[float, ...] | None
Say = Callable[[Random, int], Scores]

SAYS: dict[str, Say] = {
    "nothing": lambda rng, label: None,
    "the same": lambda rng, label: (-1.5,) * CLASSES,
    "zero": lambda rng, label: (0.0,) * CLASSES,
    "the right class": lambda rng, label: tuple(-1e6 if k != label else 0.0 for k in range(CLASSES)),
    "one class": lambda rng, label: (0.0, -1e6, -1e6, -1e6),
    "a wrong class": lambda rng, label: tuple(
        -0.1 if k == (label + 1) % CLASSES else -9.0 for k in range(CLASSES)
    ),
    "next to nothing": lambda rng, label: tuple(-1e-300 * k for k in range(CLASSES)),
    "anything": lambda rng, label: tuple(-rng.expovariate(1) for _ in range(CLASSES)),
    "huge or none": lambda rng, label: rng.choice([None, (-1e6, 0.0, -1e6, 0.0), (-5e5,) * CLASSES]),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> BoardFolder:
    return made_board(tmp_path_factory.mktemp("extreme") / "board")


def _sample(line: SampleLine, scores: Scores) -> SampleLine:
    best = None if scores is None else int(np.argmax(scores))
    error = "it broke" if scores is None and line.label == 0 else None
    orders = tuple(one.model_copy(update={"scores": scores, "predicted": best}) for one in line.orders)
    return line.model_copy(
        update={
            "scores": scores,
            "scores_normalised": scores,
            "predicted": best,
            "outcome": outcome(best, line.label, error),
            "error": error,
            "orders": orders,
        }
    )


def _probe(line: ProbeLine, say: Say, rng: Random) -> ProbeLine:
    rows = [say(rng, k % CLASSES) for k in range(len(line.predictions))]
    scores = tuple((0.0,) * CLASSES if row is None else row for row in rows)
    said = tuple(-1 if row is None else int(np.argmax(row)) for row in rows)
    return line.model_copy(update={"predictions": said, "scores": scores})


@settings(max_examples=12, deadline=None)
@given(
    answers=st.fixed_dictionaries({name: st.sampled_from(sorted(SAYS)) for name in ("train", "val", "test")}),
    probes=st.lists(st.sampled_from(sorted(SAYS)), min_size=2, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_extreme_lines_are_taken_or_refused_in_one_line(
    place: BoardFolder, answers: dict[str, str], probes: list[str], seed: int
) -> None:
    rng, run = Random(seed), made_run()
    samples = [_sample(line, SAYS[answers[line.split]](rng, line.label)) for line in run.samples]
    lines = [_probe(line, SAYS[rng.choice(probes)], rng) for line in run.lines]
    forged = MadeUp(tuple(samples), tuple(lines))
    folder = place.path.parent / "forged"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            record = recompute(made_record(run), Lines(forged.samples, forged.lines), small_task())
            board = open_board(place.path)
            submit(write_result(folder, record, forged), board)
            assert [one.problem for one in verify(board)] == [None]
    except RecordError as error:
        assert str(error).isprintable()  # noqa: PT017
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(Path(place.path / "entries" / "clinic--model"), ignore_errors=True)
