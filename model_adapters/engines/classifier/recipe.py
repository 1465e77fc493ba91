"""How an image classifier is trained: one recipe for every task, changed by arguments alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model_adapters.catalog.card import ClassifierSettings
from model_adapters.interface import ModelError

LEARNING_RATE = 1e-3  # from scratch
FINE_TUNING_RATE = 2e-4  # from pretrained weights

# What is an argument of the engine: the card's settings first, then the recipe's fields by name.
SETTINGS_ARGUMENTS = ("image_size", "pretrained")
RECIPE_ARGUMENTS = (
    "steps",
    "epochs",
    "batch",
    "learning_rate",
    "weight_decay",
    "label_smoothing",
    "evaluations",
    "patience",
    "threads",
)


@dataclass(frozen=True)
class ClassifierRecipe:
    """How a classifier is trained; `steps` bounds the time whatever the number of images.

    AdamW with a linear warm-up and a cosine to 0, gradients clipped, label smoothing, and pictures that are
    mirrored, turned, zoomed and shifted a little, with some contrast and brightness. The loss is unweighted,
    so the probabilities hold the classes' shares in training, as those of R and of the probes do. Predictions
    come from a moving average of the weights, with batch statistics measured for it. Validation is looked at
    `evaluations` times, evenly spaced: the averaged weights with the lowest log-loss are kept, and after
    `patience` looks without a lower one training ends. The log-loss is that with the best temperature, which
    then divides the scores. Nothing is tuned to a task or an architecture.

    `epochs` gives the length in passes over the training images instead of `steps`. `rotation` is in degrees,
    `shift` in half picture widths, `zoom` in nats of the scale, `contrast` and `brightness` in standard
    deviations of the training pixels: largest values of a uniform draw.
    """

    learning_rate: float
    steps: int = 400
    epochs: int | None = None
    batch: int = 64
    warm_up: float = 0.1  # share of the steps
    weight_decay: float = 0.05  # of matrices and kernels
    gradient_norm: float = 1.0  # largest
    label_smoothing: float = 0.1
    averaging: float = 0.99  # decay of the weights' moving average, which is what is kept
    evaluations: int = 8
    patience: int = 3
    rotation: float = 10.0
    shift: float = 0.12
    zoom: float = 0.12
    contrast: float = 0.1
    brightness: float = 0.1
    measured: int = 512  # training images on which batch norms are measured before each evaluation
    validation: int = 1024  # validation images that are looked at, at most; drawn at random
    threads: int = 1

    def steps_for(self, images: int) -> int:
        """Return the number of steps with this many training images."""
        return self.steps if self.epochs is None else self.epochs * -(-images // self.batch)


def make_recipe(settings: ClassifierSettings, arguments: Mapping[str, str], name: str) -> ClassifierRecipe:
    """Return the recipe of a classifier; `arguments` are the recipe's among those of the engine, as strings.

    Raises:
        ModelError: a value is no number, or not one that makes sense; the message names the argument.
    """
    rate = FINE_TUNING_RATE if settings.pretrained else LEARNING_RATE
    numbers = {key: _number(key, value, name) for key, value in arguments.items()}
    if "steps" in numbers and "epochs" in numbers:
        raise ModelError(f"{name}: model arguments 'steps' and 'epochs' exclude each other")
    return dataclasses.replace(ClassifierRecipe(learning_rate=rate), **numbers)


def _number(key: str, value: str, name: str) -> Any:
    rule = _RULES[key]
    try:
        number = rule.parse(value)
    except ValueError:
        number = None
    if number is None or not rule.lowest <= number < rule.bound or (number == 0 and not rule.zero):
        raise ModelError(f"{name}: model argument {key!r} is {value!r}; it must be {rule.words}")
    return number


@dataclass(frozen=True)
class _Rule:
    parse: Callable[[str], float]
    words: str
    lowest: float = 0
    bound: float = float("inf")
    zero: bool = False


_COUNT = _Rule(int, "a whole number of at least 1", lowest=1)
_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(RECIPE_ARGUMENTS, _COUNT),
    "batch": _Rule(int, "a whole number of at least 2", lowest=2),
    "learning_rate": _Rule(float, "a number above 0"),
    "weight_decay": _Rule(float, "a number of at least 0", zero=True),
    "label_smoothing": _Rule(float, "a number from 0 to below 1", bound=1, zero=True),
}
