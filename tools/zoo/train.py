"""Train a built-in model from arrays: tokenizer, three stages, a Hugging Face folder at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.training.material import TrainingSet
from model_adapters.zoo.training.optimise import Progress, Report, StageSettings
from tasks.files import replacing
from tools.zoo.families import Scale, build_model
from tools.zoo.stages import joint_stage, text_stage, vision_stage
from tools.zoo.tokenizer import build_tokenizer, vocabulary_text

_VISION = StageSettings(steps=1400, batch=48, learning_rate=2.5e-3)
_TEXT = StageSettings(steps=600, batch=48, learning_rate=2e-3)
_JOINT = StageSettings(steps=300, batch=48, learning_rate=1e-3)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a built-in model comes out, the material aside."""

    family: str = "llava"
    seed: int = 0
    scale: Scale = field(default_factory=Scale)
    vision: StageSettings = field(default=_VISION)
    text: StageSettings = field(default=_TEXT)
    joint: StageSettings = field(default=_JOINT)
    letters_share: float = 0.7


def phantom_recipe(family: str, seed: int) -> Recipe:
    """Return the recipe of the smaller models that know the phantom alone: minutes on one core."""
    return Recipe(
        family=family,
        seed=seed,
        scale=Scale(width=96, heads=3, vision_mlp=240, decoder_mlp=256),
        vision=StageSettings(steps=1500, batch=48, learning_rate=2.5e-3),
        text=StageSettings(steps=400, batch=48, learning_rate=2e-3),
        joint=StageSettings(steps=300, batch=48, learning_rate=1e-3),
    )


@dataclass(frozen=True)
class Trained:
    """A trained model and the loss of every step by stage; a stage taken from a checkpoint has none."""

    tiny: TinyModel
    losses: dict[str, tuple[float, ...]]


def train(
    sets: Sequence[TrainingSet],
    recipe: Recipe,
    *,
    checkpoints: Path | None = None,
    report: Report = lambda progress: None,
) -> Trained:
    """Train a model of `recipe` on `sets`.

    Every stage draws from a generator of its own, so that one resumed after a finished stage comes out
    as one that ran through. With `checkpoints` the weights after each stage are kept in that folder, and
    stages found there are not run again: use a fresh folder for another recipe or other material.

    The result depends on the number of torch threads in the last bits of each sum; with the same number
    it is the same.
    """
    material = tuple(sets)
    wordings = sorted({word for s in material for word in s.wordings})
    tokenizer = build_tokenizer(list(vocabulary_text(material)), wordings, recipe.family)
    tiny = build_model(recipe.family, tokenizer, seed=recipe.seed, scale=recipe.scale)
    seed, share = recipe.seed, recipe.letters_share
    stages = {
        "vision": lambda: vision_stage(tiny, material, recipe.vision, seed, report),
        "text": lambda: text_stage(tiny, material, recipe.text, seed, report, letters_share=share),
        "joint": lambda: joint_stage(tiny, material, recipe.joint, seed, report, letters_share=share),
    }
    losses: dict[str, tuple[float, ...]] = {}
    for name, run in stages.items():
        kept = checkpoints / f"{recipe.family}-seed{seed}-{name}.safetensors" if checkpoints else None
        if kept is not None and kept.exists():
            _restore(tiny, kept)
            report(Progress(name, 0, 0, float("nan"), 0.0))
            continue
        losses[name] = tuple(run())
        if kept is not None:
            _keep(tiny, kept)
    tiny.model.eval()
    return Trained(tiny, losses)


def _keep(tiny: TinyModel, file: Path) -> None:
    from safetensors.torch import save_file

    with replacing(file, exclusive=True) as part:
        save_file({key: value.contiguous() for key, value in tiny.model.state_dict().items()}, part)


def _restore(tiny: TinyModel, file: Path) -> None:
    from safetensors.torch import load_file

    tiny.model.load_state_dict(load_file(file))
