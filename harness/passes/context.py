"""What every step of one run works with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from harness.console import Console
from harness.data.dataset import Dataset, Sample
from harness.passes.store import RunStore
from harness.passes.timing import Timing
from harness.plan.options import EvalOptions
from model_adapters.interface import Engine


@dataclass(frozen=True)
class AskedImages:
    """Which images each step is about."""

    observed: tuple[Sample, ...]  # train, validation and test, or test alone without probes
    test: tuple[Sample, ...]
    varied: tuple[Sample, ...]  # asked in paraphrases and letters: none where the words are not read
    written: tuple[Sample, ...]  # answered in free text


@dataclass(frozen=True)
class Run:
    """One run that is going on: its open store, the loaded engine, the data, and what the user asked for."""

    store: RunStore
    engine: Engine
    dataset: Dataset
    options: EvalOptions
    console: Console
    timing: Timing

    @property
    def observes(self) -> bool:
        """Whether layers are watched: the user asked for probes and the engine shows layers."""
        return self.options.probe and bool(self.engine.sites)

    @cached_property
    def images(self) -> AskedImages:
        """The images of each step: train and validation only where probes will need them."""
        abilities, test = self.engine.description.abilities, self.dataset.split("test")
        return AskedImages(
            observed=self.dataset.samples if self.observes else test,
            test=test,
            varied=test if abilities.reads_prompts and abilities.label_scores else (),
            written=test if abilities.generation else (),
        )

    @property
    def classes(self) -> int:
        """The number of the task's classes."""
        return len(self.dataset.task.classes)
