"""Which images the causal check asks about, and whose tokens each of them is given."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.data.dataset import Dataset, Sample
from harness.passes.prompts import query_of
from model_adapters.interface import Engine
from tasks.questions import label_question
from tasks.subset import select

IMAGES = 96  # of the test images: some 22 passes each at every place


@dataclass(frozen=True)
class CheckedImages:
    """The images that are asked about, and for each a key that is equal where image tokens correspond."""

    samples: tuple[Sample, ...]
    layouts: tuple[str, ...]

    def of(self, names: Sequence[str]) -> tuple[list[Sample], list[str]]:
        """Return the images of these ids, and their layouts."""
        by_name = {s.id: (s, layout) for s, layout in zip(self.samples, self.layouts, strict=True)}
        return [by_name[name][0] for name in names], [by_name[name][1] for name in names]

    def like_pair(self) -> tuple[Sample, Sample] | None:
        """Return the first two images whose tokens correspond, None where there are none."""
        places = range(1, len(self.samples))  # equal layouts follow each other
        found = next((i for i in places if self.layouts[i - 1] == self.layouts[i]), None)
        return None if found is None else (self.samples[found - 1], self.samples[found])


@dataclass(frozen=True)
class Donors:
    """Places, in one batch, of the images whose tokens an image is given: of another class, and of its own."""

    across: int
    within: int


def choose_images(engine: Engine, dataset: Dataset, test: Sequence[Sample], seed: int) -> CheckedImages:
    """Choose at most `IMAGES` of the test images, stratified by class, in an order that brings donors together.

    Donors are looked for in one batch, so that each image is encoded once: pictures of one layout follow each
    other, and among them the classes alternate, each spread evenly.
    """
    from model_adapters.inside.intervention import picture_layout

    if not test:
        return CheckedImages((), ())
    question = label_question(dataset.task, dataset.task.primary)
    rows = select([s.id for s in test], [s.label for s in test], min(IMAGES, len(test)), seed)
    chosen = [test[row] for row in rows]
    layouts = [picture_layout(engine, query_of(question, s.id, dataset.read(s))) for s in chosen]
    order = _alternating([s.label for s in chosen], layouts)
    return CheckedImages(tuple(chosen[i] for i in order), tuple(layouts[i] for i in order))


def _alternating(labels: Sequence[int], layouts: Sequence[str]) -> list[int]:
    first = {layout: place for place, layout in reversed(list(enumerate(layouts)))}
    kinds = list(zip(layouts, labels, strict=True))
    sizes, met = Counter(kinds), Counter[tuple[str, int]]()
    keys = []
    for layout, label in kinds:
        keys.append((first[layout], (met[layout, label] + 0.5) / sizes[layout, label], label))
        met[layout, label] += 1
    return sorted(range(len(keys)), key=keys.__getitem__)


def choose_donors(samples: Sequence[Sample], layouts: Sequence[str], seed: int) -> tuple[Donors | None, ...]:
    """Choose for each image of a batch a donor of another class and one of its own; None where one lacks.

    Donors have the image's layout and are of another group. Those that were taken least often come first,
    and among them chance decides, which depends on the seed and the two images alone.
    """
    across, within = Counter[int](), Counter[int]()  # how often each was taken
    chosen: list[Donors | None] = []
    for place, sample in enumerate(samples):
        fitting = [
            other
            for other, donor in enumerate(samples)
            if layouts[other] == layouts[place] and donor.group != sample.group
        ]
        fitting.sort(key=lambda other: _chance(seed, sample.id, samples[other].id))
        own = [other for other in fitting if samples[other].label == sample.label]
        others = [other for other in fitting if samples[other].label != sample.label]
        if not (own and others):
            chosen.append(None)
            continue
        pair = Donors(min(others, key=across.__getitem__), min(own, key=within.__getitem__))
        across[pair.across] += 1
        within[pair.within] += 1
        chosen.append(pair)
    return tuple(chosen)


def _chance(seed: int, first: str, second: str) -> bytes:
    return hashlib.sha256(f"{seed}:{first}:{second}".encode()).digest()
