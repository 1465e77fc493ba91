"""The image classifier engine: a network that learns a task from its train split, then names the class.

It stands for the traditional references: it reads no prompt and writes no text, and a label's score is the
log-probability of the class that the label stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model_adapters.catalog.card import ClassifierSettings, ModelCard, make_card
from model_adapters.catalog.revision import (
    classifier_revision,
    classifier_settings,
    pretrained_folder,
    pretrained_revision,
)
from model_adapters.engines.classifier.architectures import Classifier, build
from model_adapters.engines.classifier.recipe import (
    RECIPE_ARGUMENTS,
    SETTINGS_ARGUMENTS,
    ClassifierRecipe,
    make_recipe,
)
from model_adapters.engines.classifier.stored import stored_or_trained
from model_adapters.engines.classifier.training import TrainedClassifier, standardise, to_pixels, train
from model_adapters.engines.transformers.load import placement
from model_adapters.interface import (
    Generation,
    LabelScores,
    LoadOptions,
    ModelDescription,
    ModelError,
    Observation,
    Query,
    TrainingImages,
)
from model_adapters.support.batching import AUTO_GPU, Batcher, Failure, parse_batch_size
from model_adapters.support.class_answers import ABILITIES, class_scores, no_text
from model_adapters.support.training import mean_log_probabilities, torch_threads, weights_hash
from probes.sites import Site
from tasks.files import json_hash

# Raised when this engine's answers may change for the same weights and library versions.
ADAPTER_VERSION = 1


def load(card: ModelCard, options: LoadOptions) -> ImageClassifierEngine:
    """Make the engine of a card's classifier, untrained; see `registry.load_engine`.

    `model_args` may hold image_size (pixels a side), pretrained (a hub id or folder), and of the recipe
    steps or epochs, batch, learning_rate, weight_decay, label_smoothing, evaluations, patience and threads.
    No code of the model's own is ever run, so `trust_remote_code` changes nothing.

    Raises:
        ModelError: an argument is unknown or wrong, or the card's settings make no network.
    """
    arguments = options.model_args
    if unknown := sorted(set(arguments) - {*SETTINGS_ARGUMENTS, *RECIPE_ARGUMENTS}):
        known = ", ".join((*SETTINGS_ARGUMENTS, *RECIPE_ARGUMENTS))
        raise ModelError(
            f"{card.name}: unknown model argument {unknown[0]!r}; the engine image_classifier has {known}"
        )
    if (wanted := options.dtype or card.dtype) not in ("auto", "float32"):
        raise ModelError(f"{card.name}: an image classifier is trained in float32, not in {wanted}")
    card = _with_arguments(card, arguments)
    changes = {key: arguments[key] for key in RECIPE_ARGUMENTS if key in arguments}
    recipe = make_recipe(classifier_settings(card), changes, card.name)
    changed = "".join(f"+{key}={value}" for key, value in sorted(changes.items()))
    return ImageClassifierEngine(
        card,
        recipe,
        device=placement(options.device, card.name).device,
        revision=classifier_revision(card, offline=options.offline) + changed,
        batch_size=parse_batch_size(options.batch_size),
        offline=options.offline,
    )


class ImageClassifierEngine:
    """An image classifier. Satisfies `interface.Engine` and `interface.Trainable`.

    The description's revision is known before training and the same wherever it is done. What was learned is
    in the fingerprint, as a hash of the weights, so that no answer is ever taken for that of other weights.
    """

    def __init__(
        self,
        card: ModelCard,
        recipe: ClassifierRecipe,
        *,
        device: torch.device,
        revision: str,
        batch_size: int | None = None,
        offline: bool = False,
    ) -> None:
        self.card = card
        self.recipe = recipe
        self._settings = classifier_settings(card)
        self._device, self._offline = device, offline
        self._commit = pretrained_revision(card, offline=offline) if self._hub_id else None
        self._scoring: Batcher[Query, LabelScores] = Batcher(batch_size or AUTO_GPU)
        self._network: Classifier | None = None
        self._trained: TrainedClassifier | None = None
        self._classes: dict[str, int] = {}
        # Whatever is wrong with the card is told now; only the head depends on the number of classes.
        self._untrained = self._describe(self._build(classes=2, seed=0), revision)
        self.description = self._untrained

    @property
    def sites(self) -> tuple[Site, ...]:
        """Nothing of it is watched: its layers are no multimodal model's."""
        return ()

    @property
    def training_steps(self) -> int:
        """Return how many steps `train` takes at most; with the argument `epochs`, how many epochs."""
        return self.recipe.epochs or self.recipe.steps

    def train(
        self, images: TrainingImages, *, seed: int, cache: Path, progress: Callable[[int], None]
    ) -> None:
        """Train, or read back from the folder `cache` what was trained on the same images with the same seed.

        Raises:
            ModelError: there is no image to learn from, two classes have one label, or training diverges.
        """
        if len(set(images.labels)) < max(2, len(images.labels)):
            raise ModelError(f"{self.card.name}: the labels {images.labels} do not tell two or more classes")
        count = len(images.labels)
        ran = False

        def fit() -> TrainedClassifier:
            nonlocal ran
            ran = True
            try:
                return train(
                    lambda: self._build(count, seed),
                    images,
                    self.recipe,
                    side=self._settings.image_size,
                    seed=seed,
                    device=self._device,
                    progress=progress,
                )
            except ModelError as error:
                name = self.card.name  # which errors of building have already
                raise ModelError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from error

        self._trained = stored_or_trained(cache, self._key(images, seed), fit)
        if not ran:
            progress(self.training_steps)
        network = self._build(count, seed)
        network.load_state_dict(self._trained.weights)
        self._network = network.eval()
        self._classes = {label: index for index, label in enumerate(images.labels)}
        self.description = replace(
            self._describe(network, self._untrained.revision),
            fingerprint={
                **self._untrained.fingerprint,
                "weights": weights_hash(self._trained.weights),
                "temperature": self._trained.kept.temperature,
                "training_images": images.key,
                "seed": seed,
            },
        )

    def score(self, queries: Sequence[Query], *, observe: bool = False) -> Observation:
        """Score every query's labels: the log-probabilities, in nats, of the classes that they stand for.

        Both kinds of score are equal, for a class is one answer however long its name. A label that stands
        for no class of the training images is an error of its query. Prompts are not read, and there is
        nothing to observe.

        Raises:
            ModelError: the classifier was not trained yet.
        """
        if self._network is None or self._trained is None:
            raise ModelError(f"{self.card.name}: not trained yet; an image classifier learns a task first")

        def forward(batch: Sequence[Query]) -> list[LabelScores]:
            rows = self._log_probabilities(batch)
            return [
                class_scores(query.labels, self._classes, row) for query, row in zip(batch, rows, strict=True)
            ]

        with torch_threads(self.recipe.threads):
            results = self._scoring.run(queries, forward)
        return Observation(
            tuple(LabelScores((), (), one.reason) if isinstance(one, Failure) else one for one in results)
        )

    def generate(self, queries: Sequence[Query], *, max_new_tokens: int) -> tuple[Generation, ...]:
        """Return an error for every query: there is no text to write."""
        return no_text(queries, "an image classifier")

    def close(self) -> None:
        """Free the model's memory; it has to be trained again before it answers."""
        self._network = self._trained = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def _log_probabilities(self, queries: Sequence[Query]) -> NDArray[np.float64]:
        assert self._network is not None
        assert self._trained is not None
        pictures = np.stack([to_pixels(query.image, self._settings.image_size) for query in queries])
        scores = self._network(standardise(pictures, self._trained.mean, self._trained.deviation))
        return mean_log_probabilities(scores[None].double().cpu().numpy(), self._trained.kept.temperature)

    def _build(self, classes: int, seed: int) -> Classifier:
        return build(
            self._settings,
            classes,
            self.card.name,
            seed=seed,
            device=self._device,
            offline=self._offline,
            revision=self._commit,
        )

    def _key(self, images: TrainingImages, seed: int) -> str:
        """Return a hash of everything that the trained weights depend on."""
        parts = {
            "images": images.key,
            "labels": images.labels,
            "seed": seed,
            "device": self._device.type,
            "revision": self._untrained.revision,
            "settings": self._untrained.fingerprint,
        }
        return json_hash(parts)[:32]

    def _describe(self, classifier: Classifier, revision: str) -> ModelDescription:
        import PIL
        import transformers

        return ModelDescription(
            name=self.card.name,
            hub_id=self._hub_id,
            revision=revision,
            architecture=type(classifier.network).__name__,
            parameters=sum(parameter.numel() for parameter in classifier.parameters()),
            engine="image_classifier",
            dtype="float32",
            device=str(self._device),
            fingerprint={
                "adapter_version": ADAPTER_VERSION,
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "numpy": np.__version__,
                "pillow": PIL.__version__,
                "recipe": asdict(self.recipe),
            },
            abilities=ABILITIES,
        )

    @property
    def _hub_id(self) -> str | None:
        place = self._settings.pretrained
        return place if place is not None and pretrained_folder(place) is None else None


def _with_arguments(card: ModelCard, arguments: Mapping[str, str]) -> ModelCard:
    """Return the card with other picture size or pretrained weights, checked as a card's file is."""
    changes = {key: arguments[key] for key in SETTINGS_ARGUMENTS if key in arguments}
    if not changes:
        return card
    settings: ClassifierSettings = classifier_settings(card)
    content = {**card.model_dump(), "classifier": {**settings.model_dump(), **changes}}
    return make_card(content, f"{card.name}: model arguments")
