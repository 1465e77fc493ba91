"""The loop: same weights however it came to its end, the best ones kept, what is damaged refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model_adapters.finetune import training
from model_adapters.finetune.checkpoints import Checkpoints
from model_adapters.finetune.settings import TuningSettings
from model_adapters.finetune.training import Tuned, Tuning
from model_adapters.interface import ModelError
from tests.model_adapters.finetune.small import Subject, with_settings

STEPS = 6  # of 10 images, 4 a step, in 2 epochs
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def model(tiny_folder: Callable[[str], Path]) -> Path:
    return tiny_folder("llava_clip")


@pytest.fixture(scope="session")
def undisturbed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return Subject(model, tmp_path_factory.mktemp("undisturbed")).tuning.run(lambda steps: None)


def same(one: Tuned, two: Tuned) -> bool:
    """Whether two trainings are equal to the last bit."""
    return (one.kept, one.steps, one.looks) == (two.kept, two.steps, two.looks) and all(
        torch.equal(one.weights[name], two.weights[name]) for name in {*one.weights, *two.weights}
    )


def test_another_seed_gives_other_weights_and_the_same_one_the_same(
    model: Path, undisturbed: Tuned, tmp_path: Path
) -> None:
    torch.manual_seed(123)  # what the caller drew before does not matter
    again = Subject(model, tmp_path / "again").tuning.run(lambda steps: None)
    other = Subject(model, tmp_path / "other", with_settings(seed=1)).tuning.run(lambda steps: None)
    assert same(again, undisturbed)
    assert not same(other, undisturbed)


@pytest.mark.slow
def test_killed_and_started_again_ends_as_undisturbed(
    model: Path, undisturbed: Tuned, tmp_path: Path
) -> None:
    killed = subprocess.run(
        [sys.executable, "-m", "tests.model_adapters.finetune.killed", str(model), str(tmp_path), "4"],
        cwd=ROOT,
    )
    assert killed.returncode == -9
    subject = Subject(model, tmp_path)
    assert subject.tuning.step == 3  # it was killed after a step, before the next checkpoint
    assert same(subject.tuning.run(lambda steps: None), undisturbed)


def test_interrupted_leaves_a_checkpoint_after_each_step(
    model: Path, undisturbed: Tuned, tmp_path: Path
) -> None:
    for step in range(1, STEPS + 1):
        subject = Subject(model, tmp_path)
        assert subject.tuning.step == step - 1
        with pytest.raises(KeyboardInterrupt):
            subject.tuning.run(lambda steps: None, interrupted=lambda t=subject.tuning, s=step: t.step == s)
    assert same(Subject(model, tmp_path).tuning.run(lambda steps: None), undisturbed)


@pytest.mark.parametrize("name", ["state", "best"])
def test_damaged_checkpoint_is_refused_by_name(name: str, model: Path, tmp_path: Path) -> None:
    subject = Subject(model, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        subject.tuning.run(lambda steps: None, interrupted=lambda: subject.tuning.step == 4)
    path = next((tmp_path / "checkpoint").glob(f"{name}*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"{path.name}: the checkpoint is damaged .*--overwrite"):
        Subject(model, tmp_path)
    path.write_bytes(content[:100])
    with pytest.raises(ModelError, match=rf"{path.name}: the checkpoint is damaged"):
        Subject(model, tmp_path)


def test_checkpoint_of_another_tuning_is_refused(model: Path, tmp_path: Path) -> None:
    subject = Subject(model, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        subject.tuning.run(lambda steps: None, interrupted=lambda: subject.tuning.step == 1)
    with pytest.raises(ModelError, match="is the checkpoint of another tuning"):
        Checkpoints(tmp_path, "other").read()


def test_gradients_are_accumulated_exactly(model: Path, tmp_path: Path) -> None:
    """Without dropout a step of four images is the same, however few of them are in memory at once."""
    found = []
    for size in (1, 4):
        subject = Subject(
            model, tmp_path / str(size), with_settings(micro_batch=size, dropout=0.0, gradient_norm=1e9)
        )
        subject.tuning._take_step(1)
        found.append([p.grad for p in subject.attached.parameters.values()])
    for one, four in zip(*found, strict=True):
        torch.testing.assert_close(one, four, rtol=1e-3, atol=1e-6)


def test_gradients_are_clipped_to_their_norm(model: Path, tmp_path: Path) -> None:
    subject = Subject(model, tmp_path, with_settings(gradient_norm=0.01))
    subject.tuning._take_step(1)
    squares = [p.grad.square().sum() for p in subject.attached.parameters.values() if p.grad is not None]
    assert float(torch.stack(squares).sum().sqrt()) == pytest.approx(0.01, rel=1e-3)


def test_recomputed_activations_give_the_same_gradients(model: Path, tmp_path: Path) -> None:
    found = []
    for recompute in (False, True):
        subject = Subject(model, tmp_path / str(recompute), with_settings(recompute=recompute))
        subject.tuning._take_step(1)
        found.append([p.grad for p in subject.attached.parameters.values()])
    for kept, computed in zip(*found, strict=True):
        torch.testing.assert_close(kept, computed, rtol=1e-4, atol=1e-7)


def test_tuning_lowers_the_log_loss_on_images_it_learns(model: Path, tmp_path: Path) -> None:
    subject = Subject(model, tmp_path, with_settings(epochs=15, dropout=0.0))

    def loss() -> float:
        with torch.no_grad():
            return float(subject.objective.loss(range(10)))

    before = loss()
    subject.tuning.run(lambda steps: None)
    assert loss() < before / 2


class Drill:
    """A stand-in for a model: one number, and validation scores that are given in advance."""

    images, device, dtype, title = 8, torch.device("cpu"), "float32", "drill"

    def __init__(self, accuracies: Sequence[float], losses: Sequence[float]) -> None:
        self.parameters = {"x": nn.Parameter(torch.zeros(1))}
        self._given = iter(zip(accuracies, losses, strict=True))
        self.seen: list[float] = []

    def train_mode(self, training: bool) -> None: ...

    def weight(self, chosen: Sequence[int]) -> int:
        return len(chosen)

    def loss(self, chosen: Sequence[int]) -> Tensor:
        return self.parameters["x"].sum() * len(chosen)

    def validate(self, interrupted: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray]:
        """Scores of ten images a class with so many right, and a margin that gives about the log-loss."""
        accuracy, margin = next(self._given)
        self.seen.append(float(self.parameters["x"].detach()))
        labels = np.repeat([0, 1], 10)
        right = np.tile(np.arange(10) < round(10 * accuracy), 2)
        scores = np.zeros((20, 2))
        scores[np.arange(20), np.where(right, labels, 1 - labels)] = margin
        return scores, labels


def drilled(
    accuracies: Sequence[float], margins: Sequence[float], patience: int, folder: Path
) -> tuple[Tuned, list[float]]:
    drill = Drill(accuracies, margins)
    settings = TuningSettings(batch=8, epochs=6, evaluations=6, patience=patience)
    return Tuning(drill, settings, Checkpoints(folder, "key")).run(lambda steps: None), drill.seen


def test_early_stopping_keeps_the_best_and_ends_when_patience_does(tmp_path: Path) -> None:
    tuned, seen = drilled([0.5, 0.6, 0.8, 0.7, 0.8, 0.9], [1, 1, 1, 1, 2, 1], 2, tmp_path)
    assert (tuned.kept, tuned.steps) == (2, 4)  # an equal accuracy with a larger loss is no gain
    assert tuned.weights["x"].item() == seen[2]
    assert seen[2] != seen[4]


def test_ties_are_broken_by_log_loss(tmp_path: Path) -> None:
    tuned, _ = drilled([0.5, 0.8, 0.8, 0.8, 0.7, 0.7, 0.7], [1, 2, 1.5, 1.8, 1, 1, 1], 9, tmp_path)
    assert tuned.kept == 2  # at 80% right a larger margin is a larger loss
    assert tuned.steps == 6


def test_weights_before_the_first_step_are_never_kept(tmp_path: Path) -> None:
    tuned, _ = drilled([0.9, 0.5, 0.6, 0.5, 0.5, 0.5, 0.5], [1] * 7, 9, tmp_path)
    assert tuned.kept == 2
    assert tuned.looks[0].step == 0
    assert tuned.looks[0].balanced_accuracy == 0.9


def test_divergence_is_said(tmp_path: Path) -> None:
    drill = Drill([0.5] * 7, [1] * 7)
    drill.loss = lambda chosen: drill.parameters["x"].sum() * float("nan")  # type: ignore[method-assign]
    tuning = Tuning(drill, TuningSettings(batch=8, epochs=6), Checkpoints(tmp_path, "key"))
    with pytest.raises(ModelError, match=r"drill: training diverged at step 1 with the learning rate 0.0002"):
        tuning.run(lambda steps: None)


def test_model_in_bfloat16_is_tuned(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.model_adapters.finetune.small as small
    from model_adapters.catalog.registry import load_engine, resolve

    def low(folder: Path) -> object:
        return load_engine(resolve([str(folder)])[0].card, device="cpu", dtype="bfloat16")

    monkeypatch.setattr(small, "load", low)
    subject = Subject(model, tmp_path, with_settings(epochs=1))
    before = {name: p.detach().clone() for name, p in subject.attached.parameters.items()}
    tuned = subject.tuning.run(lambda steps: None)
    assert tuned.steps == 3
    assert all(not torch.equal(tuned.weights[name], before[name]) for name in before)


def test_checkpoint_times_change_nothing(
    model: Path, undisturbed: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    assert same(Subject(model, tmp_path).tuning.run(lambda steps: None), undisturbed)
