"""The training loop: steps of accumulated gradients, looks at the validation images, checkpoints on the way.

On the CPU the same arguments give the same weights bit for bit, whether or not training was killed and started
again: the order of the images depends on seed and epoch, the random numbers of a step on seed and step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from sklearn.metrics import recall_score
from torch import Tensor, nn

from model_adapters.catalog.tuned import ValidationResult
from model_adapters.finetune.checkpoints import Checkpoints, TuningState
from model_adapters.finetune.lora import changed, put_back
from model_adapters.finetune.settings import TuningSettings
from model_adapters.interface import ModelError
from model_adapters.support.training import schedule, seeded

CHECKPOINT_SECONDS = 300.0  # between two checkpoints, those at every look aside

Progress = Callable[[int], None]
Interrupted = Callable[[], bool]
Report = Callable[[ValidationResult], None]


class Objective(Protocol):
    """What is tuned, and towards what."""

    parameters: dict[str, nn.Parameter]
    images: int  # that can be learned from
    device: torch.device
    dtype: str  # of the weights that are not trained
    title: str

    def train_mode(self, training: bool) -> None:
        """Turn dropout on, or off."""
        ...

    def weight(self, chosen: Sequence[int]) -> int:
        """Return over how many terms the loss of some images is a sum."""
        ...

    def loss(self, chosen: Sequence[int]) -> Tensor:
        """Return the summed loss of some training images, in nats, with its gradient."""
        ...

    def validate(self, interrupted: Interrupted) -> tuple[np.ndarray, np.ndarray] | None:
        """Return scores (images, classes) and labels (images,) of validation; None where it was interrupted."""
        ...


@dataclass(frozen=True, eq=False)
class Tuned:
    """What tuning gave: the weights that are kept, and how they were chosen among `looks`."""

    weights: Mapping[str, Tensor] = field(repr=False)
    kept: int
    steps: int
    looks: tuple[ValidationResult, ...]


class Tuning:
    """One fine-tuning, from its checkpoint on where there is one; `step` of `total` are done.

    Raises:
        ModelError: the checkpoint is damaged or belongs to another tuning, or there is no image.
    """

    def __init__(self, objective: Objective, settings: TuningSettings, checkpoints: Checkpoints) -> None:
        if objective.images < 1:
            raise ModelError(f"{objective.title}: there is no image to learn from")
        self._objective, self._settings, self._checkpoints = objective, settings, checkpoints
        self.total = settings.steps(objective.images)
        self._looks_at = frozenset(settings.looks(self.total))
        self._accelerator = _accelerator(objective)
        self._names = list(objective.parameters)
        self._optimiser = torch.optim.AdamW(
            objective.parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.step = 0
        self._looks: list[ValidationResult] = []
        self._best_step: int | None = None
        self._best: Mapping[str, Tensor] = {}
        found = checkpoints.read()
        if found is not None:
            self._go_on(found)

    def run(
        self,
        progress: Progress,
        report: Report = lambda look: None,
        interrupted: Interrupted = lambda: False,
    ) -> Tuned:
        """Train to the end, or until the validation images say that it gets no better.

        `progress` is told the steps done, `report` what the validation images say. Where `interrupted` says so
        a checkpoint is left.

        Raises:
            ModelError: training diverges, or a checkpoint cannot be written.
            KeyboardInterrupt: it was interrupted.
        """
        saved = time.monotonic()
        while True:
            if self.step in self._looks_at and all(look.step != self.step for look in self._looks):
                done = self._look(interrupted)
                self._save()
                saved = time.monotonic()
                if not done or interrupted():
                    raise KeyboardInterrupt
                report(self._looks[-1])
            if self.step == self.total or self._is_over():
                break
            self._take_step(self.step + 1)
            self.step += 1
            progress(1)
            if interrupted() or time.monotonic() - saved > CHECKPOINT_SECONDS:
                self._save()
                saved = time.monotonic()
                if interrupted():
                    raise KeyboardInterrupt
        assert self._best_step is not None
        put_back(self._objective.parameters, self._best)
        self._objective.train_mode(False)
        return Tuned(self._best, self._best_step, self.step, tuple(self._looks))

    def _take_step(self, number: int) -> None:
        objective, settings = self._objective, self._settings
        chosen = self._chosen(number)
        for group in self._optimiser.param_groups:
            group["lr"] = settings.learning_rate * schedule(number / self.total, settings.warm_up)
        objective.train_mode(True)
        terms = objective.weight(chosen)
        self._optimiser.zero_grad()
        with seeded(_step_seed(settings.seed, number), objective.device):
            for first in range(0, len(chosen), settings.micro_batch):
                with self._accelerator.autocast():
                    loss = objective.loss(chosen[first : first + settings.micro_batch])
                self._accelerator.backward(loss / terms)
        norm = self._accelerator.clip_grad_norm_(objective.parameters.values(), settings.gradient_norm)
        if not bool(torch.isfinite(norm)):
            raise ModelError(
                f"{objective.title}: training diverged at step {number} with the learning rate "
                f"{settings.learning_rate:g}; begin anew with a lower --learning-rate and --overwrite"
            )
        self._optimiser.step()

    def _chosen(self, number: int) -> list[int]:
        """Return the training images of a step: every image comes once in each epoch."""
        batch, images = self._settings.batch, self._objective.images
        an_epoch = -(-images // batch)
        epoch, place = divmod(number - 1, an_epoch)
        generator = torch.Generator().manual_seed(_step_seed(self._settings.seed, -1 - epoch))
        order = torch.randperm(images, generator=generator).tolist()
        return order[place * batch : (place + 1) * batch]

    def _look(self, interrupted: Interrupted) -> bool:
        """Look at the validation images; return False where that was interrupted."""
        self._objective.train_mode(False)
        with self._accelerator.autocast():
            seen = self._objective.validate(interrupted)
        if seen is None:
            return False
        scores, labels = seen
        if not np.isfinite(scores).all():
            raise ModelError(
                f"{self._objective.title}: a validation image has no finite scores at step {self.step}; "
                "begin anew with a lower --learning-rate and --overwrite"
            )
        probabilities = torch.from_numpy(scores).double().log_softmax(1).numpy()
        balanced = recall_score(labels, scores.argmax(1), labels=np.unique(labels), average="macro")
        look = ValidationResult(
            step=self.step,
            balanced_accuracy=round(float(balanced), 6),
            log_loss=round(float(-probabilities[np.arange(len(labels)), labels].mean()), 6),
        )
        self._looks.append(look)
        if self.step > 0 and look == best_validation(self._looks):
            self._best_step, self._best = self.step, changed(self._objective.parameters)
        return True

    def _is_over(self) -> bool:
        if self._best_step is None:
            return False
        since = sum(look.step > self._best_step for look in self._looks)
        return since >= self._settings.patience

    def _save(self) -> None:
        state = self._optimiser.state
        moments: dict[str, Tensor] = {}
        for name, parameter in self._objective.parameters.items():
            for quantity, tensor in state.get(parameter, {}).items():
                moments[f"{name}/{quantity}"] = tensor.detach().cpu().clone()
        weights = changed(self._objective.parameters)
        looks = tuple(self._looks)
        self._checkpoints.write(TuningState(self.step, looks, weights, moments, self._best_step, self._best))

    def _go_on(self, found: TuningState) -> None:
        if set(found.weights) != set(self._names):
            raise ModelError(
                f"{self._checkpoints.folder}: the checkpoint has other weights than the model; "
                "begin anew with --overwrite"
            )
        put_back(self._objective.parameters, found.weights)
        for key, value in found.moments.items():
            name, _, quantity = key.rpartition("/")
            parameter = self._objective.parameters[name]
            # The count of steps stays on the CPU, as the optimiser keeps it.
            placed = value if quantity == "step" else value.to(parameter.device)
            self._optimiser.state[parameter][quantity] = placed
        self.step, self._looks = found.step, list(found.looks)
        self._best_step, self._best = found.best_step, found.best


def best_validation(looks: Sequence[ValidationResult]) -> ValidationResult:
    """Return the look of the highest balanced accuracy, of equal ones that of the lowest log-loss, then the first.

    The one before the first step does not count: a tuned model is one that was tuned.
    """
    tuned = [look for look in looks if look.step > 0]
    return min(tuned, key=lambda look: (-look.balanced_accuracy, look.log_loss, look.step))


def _step_seed(seed: int, number: int) -> int:
    """Return a seed for one step (or, negative, one epoch), so that neighbours share no random numbers."""
    return int(np.random.SeedSequence([seed, number % 2**32]).generate_state(1, np.uint64)[0]) % 2**63


def _accelerator(objective: Objective) -> Any:
    """Return what computes in mixed precision where the model is in bfloat16, on the model's own device."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # one process may tune several models in turn
    mixed = "bf16" if objective.dtype == "bfloat16" else "no"
    return Accelerator(mixed_precision=mixed, cpu=objective.device.type == "cpu")
