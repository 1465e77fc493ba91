"""How often a gate cries wolf where nothing changed, and how often it sees what did.

    python tests/leaderboard/gate_simulation.py [--draws 1000]

prints the table of docs/gate.md. Every draw goes through the test of accuracy and the decision over all tasks,
as `harness compare` makes them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from leaderboard.compare import contrasts
from leaderboard.compare.comparison import accuracy_test, decide
from leaderboard.compare.contrasts import Paired


@dataclass(frozen=True)
class ImageSet:
    """Images in equal groups; `discordance` is the true share on which exactly one run is right."""

    groups: int
    per_group: int = 1
    discordance: float = 0.15


@dataclass(frozen=True)
class Scenario:
    """Sets of images, and how much worse the candidate answers them."""

    name: str
    tasks: tuple[ImageSet, ...]
    drop: float = 0.0  # true, in the first task


NO_CHANGE = (
    Scenario("150 images", (ImageSet(150),)),
    Scenario("1,000 images", (ImageSet(1000),)),
    Scenario("10 groups of 4", (ImageSet(10, 4),)),
    Scenario("20 groups of 4", (ImageSet(20, 4),)),
    Scenario("40 groups of 3", (ImageSet(40, 3),)),
    Scenario("100 groups of 3, 2% differ", (ImageSet(100, 3, 0.02),)),
    Scenario("250 groups of 4", (ImageSet(250, 4),)),
    Scenario("two tasks: 150 images; 60 groups of 4", (ImageSet(150), ImageSet(60, 4))),
)
CHANGED = (
    Scenario("1,000 images, 5 points", (ImageSet(1000),), 0.05),
    Scenario("250 groups of 4, 5 points", (ImageSet(250, 4),), 0.05),
    Scenario(
        "1,000 images, 5 points, beside a task of 150 that did not change",
        (ImageSet(1000), ImageSet(150)),
        0.05,
    ),
)


def draw(
    rng: np.random.Generator, image_set: ImageSet, drop: float = 0.0
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Draw candidate, baseline and groups.

    Images of one group differ between the runs together: how many of them do, and whom they favour, varies
    from group to group (exponential, and uniform where nothing changed).
    """
    groups, size = image_set.groups, image_set.per_group
    alone = size == 1
    share = np.full(groups, image_set.discordance)
    share = share if alone else np.minimum(share * rng.exponential(size=groups), 1.0)
    favour = (image_set.discordance - drop) / (2 * image_set.discordance)  # of the candidate, on average
    tilt = np.full(groups, favour) if alone else rng.beta(2 * favour, 2 * (1 - favour), size=groups)
    differs = rng.random((groups, size)) < share[:, None]
    won = rng.random((groups, size)) < tilt[:, None]
    both = rng.random((groups, size)) < 0.7
    candidate, baseline = np.where(differs, won, both), np.where(differs, ~won, both)
    names = [str(group) for group in range(groups) for _ in range(size)]
    return candidate.ravel().astype(float), baseline.ravel().astype(float), names


def tested(candidate: np.ndarray, baseline: np.ndarray, groups: list[str], *, seed: int) -> Paired:
    """Test as `harness compare` does, single images without the bootstrap behind the interval alone."""
    if len(set(groups)) < len(groups):
        return accuracy_test(candidate, baseline, groups, seed=seed)
    with _draws(10):
        return accuracy_test(candidate, baseline, groups, seed=seed)


@contextmanager
def _draws(number: int) -> Iterator[None]:
    usual, contrasts.DRAWS = contrasts.DRAWS, number
    try:
        yield
    finally:
        contrasts.DRAWS = usual


def verdicts(scenario: Scenario, draws: int, *, level: float = 0.05, seed: int = 0) -> list[tuple[str, ...]]:
    """Return the verdicts on all tasks, draw by draw."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(draws):
        drops = (scenario.drop, *[0.0] * (len(scenario.tasks) - 1))
        made = [draw(rng, image_set, drop) for image_set, drop in zip(scenario.tasks, drops, strict=True)]
        tests = [tested(*one, seed=number) for one in made]
        found.append(tuple(decision.verdict for decision in decide(tests, level)))
    return found


def share_of_alarms(found: Sequence[tuple[str, ...]]) -> float:
    """Return the share of draws with any verdict but "no evidence" on any task, the wrong direction included."""
    return float(np.mean([set(one) != {"no evidence"} for one in found]))


def share_of_stops(found: Sequence[tuple[str, ...]]) -> float:
    """Return the share of draws in which a gate stops."""
    return float(np.mean(["regressed" in one for one in found]))


def share_caught(found: Sequence[tuple[str, ...]]) -> float:
    """Return the share of draws in which the first task is found regressed."""
    return Counter(one[0] for one in found)["regressed"] / len(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    print("| nothing changed | any verdict | gate stops |\n| --- | --- | --- |")
    for scenario in NO_CHANGE:
        found = verdicts(scenario, draws)
        print(f"| {scenario.name} | {share_of_alarms(found):.1%} | {share_of_stops(found):.1%} |", flush=True)
    print("\n| true drop | caught |\n| --- | --- |")
    for scenario in CHANGED:
        print(f"| {scenario.name} | {share_caught(verdicts(scenario, draws)):.1%} |", flush=True)


if __name__ == "__main__":
    main()
