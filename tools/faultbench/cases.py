"""The cases of the fault bench: which model, with which fault, on which draw of images, and what is right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal

Role = Literal["healthy", "fault", "mismatch", "trap"]
Severity = Literal["none", "mild", "strong"]
Labels = Literal["true", "shuffled", "answers"]

FAMILIES = ("llava", "qwen2.5-vl", "gemma3")
SEEDS = (0, 1, 2)
CHOOSING_SEEDS = (0,)  # the rule is chosen on these and reported on the others
SHUFFLED_DRAWS = 20
FRESH_DRAWS = 3  # for healthy models, beside the two draws on which their faulty siblings are judged
TRAP_SEED = 1

FIRST_IMAGE = 2_000_000  # tasks use indices below 100,000, training those from 1,000,000
IMAGES_PER_DRAW = 10_000
_BASELINE_SHARE = 0.4  # of the bench, by which all baselines are done
_SPLIT_OFFSETS = {"train": 0, "val": 6_000, "test": 7_000}


@dataclass(frozen=True)
class Draw:
    """A set of generated images with their splits; `number` decides which.

    `labels` says whose they are: the generator's own, those dealt anew at random over all images, or
    what the healthy model itself answers.
    """

    number: int
    train: int = 1000
    val: int = 400
    test: int = 1000
    labels: Labels = "true"

    def ranges(self) -> dict[str, tuple[int, int]]:
        """Return each split's first image and number of images."""
        start = FIRST_IMAGE + self.number * IMAGES_PER_DRAW
        counts = {"train": self.train, "val": self.val, "test": self.test}
        return {name: (start + _SPLIT_OFFSETS[name], count) for name, count in counts.items()}


@dataclass(frozen=True)
class Case:
    """One model on one draw. `expected` are the verdicts that are right; none for what is only shown."""

    role: Role
    kind: str
    severity: Severity
    family: str
    seed: int
    draw: Draw
    expected: tuple[str, ...]

    @property
    def model(self) -> str:
        """The healthy model that this case starts from: what intervals are clustered by."""
        return f"{self.family}-seed{self.seed}"

    @property
    def name(self) -> str:
        """The case's name, one of a kind: role/kind/severity/model/draw."""
        return f"{self.role}/{self.kind}/{self.severity}/{self.model}/draw{self.draw.number:02d}"

    @property
    def reported(self) -> bool:
        """Whether the rule was chosen without this case."""
        return self.seed not in CHOOSING_SEEDS

    def to_json(self) -> dict[str, Any]:
        """Return the case as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Case:
        """Return the case of `to_json`."""
        values = dict(stored)
        draw = Draw(**values.pop("draw"))
        return cls(**{**values, "draw": draw, "expected": tuple(values["expected"])})


@dataclass(frozen=True)
class FaultKind:
    """A fault that can be planted, as the bench needs to know it."""

    name: str
    expected: tuple[str, ...]
    severities: tuple[Severity, ...]
    adapted: bool = True  # an unadapted one is an interface mismatch: shown, and scored by no rule


def models() -> list[tuple[str, int]]:
    """Return family and seed of every healthy model."""
    return [(family, seed) for seed in SEEDS for family in FAMILIES]


def all_cases(faults: Sequence[FaultKind]) -> tuple[Case, ...]:
    """Return every case, those that make a small balanced table first and those that nothing scores last.

    Each healthy model has a draw for its strong faults and one with 2,000 test images for its mild ones,
    and is judged on both itself: answers drop from what it reaches on the same images. Models of one seed
    share these draws, as each draw costs a reference of its own.
    """
    scored = _fault_groups([fault for fault in faults if fault.adapted])
    shown = _fault_groups([fault for fault in faults if not fault.adapted])
    groups = [*scored, *_trap_groups(), *_fresh_groups()]
    return (*_interleaved(_baseline_groups(), groups), *_interleaved((), list(shown)))


def baseline(case: Case) -> Case:
    """Return the healthy model on the same draw, from whose answers a fault's drop is measured."""
    draw = replace(case.draw, labels="true")
    return _healthy(case.family, case.seed, draw)


def needs(case: Case) -> Case | None:
    """Return the case whose answers must be there before this one can begin."""
    return baseline(case) if case.draw.labels == "answers" else None


def key_of(case: Case, versions: Mapping[str, Any]) -> str:
    """Return a hash of the case and of everything else that its answers and features depend on."""
    text = json.dumps([case.to_json(), versions], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def strong_draw(family: str, seed: int) -> Draw:
    """Return the draw for the strong faults of a healthy model; the families of a seed share one."""
    return Draw(SEEDS.index(seed))


def mild_draw(family: str, seed: int) -> Draw:
    """Return the draw for the mild faults of a healthy model; the families of a seed share one."""
    return Draw(20 + SEEDS.index(seed), test=2000)


def _healthy(family: str, seed: int, draw: Draw) -> Case:
    return Case("healthy", "healthy", "none", family, seed, draw, ("healthy",))


def _baseline_groups() -> list[list[Case]]:
    return [[_healthy(f, s, draw_of(f, s)) for f, s in models()] for draw_of in (strong_draw, mild_draw)]


def _fresh_groups() -> list[list[Case]]:
    return [[_healthy(f, s, Draw(40 + number)) for f, s in models()] for number in range(FRESH_DRAWS)]


def _fault_groups(faults: Sequence[FaultKind]) -> Iterator[list[Case]]:
    for fault in faults:
        role: Role = "fault" if fault.adapted else "mismatch"
        for severity in fault.severities:
            draw_of = mild_draw if severity == "mild" else strong_draw
            yield [
                Case(role, fault.name, severity, f, s, draw_of(f, s), fault.expected if fault.adapted else ())
                for f, s in models()
            ]


def _trap_groups() -> Iterator[list[Case]]:
    def trap(kind: str, family: str, seed: int, draw: Draw, *expected: str) -> Case:
        return Case("trap", kind, "none", family, seed, draw, expected)

    owners = models()
    yield [
        trap("shuffled_labels", *owners[i % len(owners)], Draw(60 + i, labels="shuffled"), "no_signal")
        for i in range(SHUFFLED_DRAWS)
    ]
    yield [
        trap("pass_through", f, TRAP_SEED, replace(strong_draw(f, TRAP_SEED), labels="answers"), "healthy")
        for f in FAMILIES
    ]
    # A healthy model far below R is weak in vision: that may be said, and no later stage may be blamed.
    yield [
        trap("strong_reference", f, TRAP_SEED, Draw(90, train=5000), "healthy", "vision") for f in FAMILIES
    ]


def _interleaved(baselines: Sequence[Sequence[Case]], groups: Sequence[Sequence[Case]]) -> list[Case]:
    """Take the groups turn about, each from another model on, so that any first part is balanced.

    The baselines go faster than the others: without them no drop is known.
    """
    placed = []
    for number, group in enumerate((*baselines, *groups)):
        share = _BASELINE_SHARE if number < len(baselines) else 1.0
        for index in range(len(group)):
            case = group[(index + number) % len(group)]
            placed.append((share * (index + 0.5) / len(group), number, case))
    return [case for _, _, case in sorted(placed, key=lambda entry: entry[:2])]


def keys_of(cases: Iterable[Case]) -> dict[str, str]:
    """Return every case's key by its name."""
    return {case.name: key_of(case, versions(case)) for case in cases}


def versions(case: Case) -> dict[str, Any]:
    """Return the versions that enter a case's key; a case made under others is run again.

    How answers are judged is left out: kept cases are judged again instead.
    """
    return {**_code(), "recipe": recipe_id(case.family, case.seed)}


@cache
def recipe_id(family: str, seed: int) -> str:
    """Return a hash of everything that a healthy model is trained by."""
    from tools import train_built_in

    return train_built_in.recipe_id(family, seed)


@cache
def _code() -> dict[str, int]:
    from harness.data.phantom import GENERATOR_VERSION
    from harness.plan.configuration import RUN_VERSION
    from harness.watch.floors import FLOORS_VERSION
    from model_adapters.engines.classifier.reference import RECIPE_VERSION

    return {
        "phantom": GENERATOR_VERSION,
        "run": RUN_VERSION,
        "floors": FLOORS_VERSION,
        "reference": RECIPE_VERSION,
    }
