"""Build the network of an image classifier, of any kind that transformers can classify images with."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from model_adapters.catalog.card import ClassifierSettings
from model_adapters.catalog.revision import pretrained_folder
from model_adapters.engines.transformers.load import load_config, quiet
from model_adapters.interface import ModelError, one_line
from model_adapters.support.training import seeded, torch_threads
from tasks.problems import did_you_mean

# What a configuration that fits no network, or weights that cannot be read, make the library raise.
_BUILD_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, IndexError)


class Classifier(nn.Module):
    """A library model for image classification that maps pixels (images, 3, side, side) to scores.

    Where its position embeddings are those of another picture size they are interpolated.
    """

    def __init__(self, network: nn.Module, image_size: int) -> None:
        super().__init__()
        self.network = network
        native = getattr(network.config, "image_size", image_size)
        sides = tuple(native) if isinstance(native, Sequence) else (native, native)
        can = "interpolate_pos_encoding" in inspect.signature(network.forward).parameters
        self._options = (
            {"interpolate_pos_encoding": True} if can and sides != (image_size, image_size) else {}
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the scores (images, classes) of standardised pixels, which may lie on another device."""
        pixels = pixels.to(self.device, memory_format=torch.channels_last)
        return self.network(pixel_values=pixels, **self._options).logits.float()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def build(
    settings: ClassifierSettings,
    classes: int,
    name: str,
    *,
    seed: int,
    device: torch.device,
    offline: bool = False,
    revision: str | None = None,
) -> Classifier:
    """Return the network for a number of classes: untrained, or with pretrained weights below a new head.

    A head that already has as many classes is kept as a start. `configuration` counts only without pretrained
    weights, whose folder has its own. New weights are drawn from `seed`, in float32, and torch's global
    generator is left as it was. A picture is put through, so that what does not fit is told here. `revision`
    is the commit of weights on the hub.

    Raises:
        ModelError: the kind, a key of its configuration, or the picture size is wrong, or the pretrained
            weights are missing, of another kind, or not all there.
    """
    with quiet(), torch_threads(), seeded(seed, torch.device("cpu")):
        if settings.pretrained is None:
            network = _from_scratch(settings, classes, name)
        else:
            network = _pretrained(settings, classes, name, offline, revision)
        classifier = Classifier(network, settings.image_size)
        _try(classifier, settings, classes, name)
    # Convolutions are quicker with the channels last; other weights are as they were.
    return classifier.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _from_scratch(settings: ClassifierSettings, classes: int, name: str) -> Any:
    from transformers import AutoModelForImageClassification

    try:
        network = AutoModelForImageClassification.from_config(_configuration(settings, classes, name))
    except _BUILD_ERRORS as error:
        raise ModelError(f"{name}: classifier.configuration makes no network ({one_line(error)})") from error
    _start_batch_norms(network)
    return network


@torch.no_grad()
def _start_batch_norms(network: nn.Module) -> None:
    """Let batch norms start as they commonly do, where the library draws their scales around 0.

    It does so for EfficientNet, whose signal then vanishes on its way: made for weights that are read, such
    a network cannot be trained from scratch. Scales that are all 0 or all 1 are meant.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.weight.unique().numel() > 1:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def _configuration(settings: ClassifierSettings, classes: int, name: str) -> Any:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    architectures = _architectures(settings.kind, name)
    defaults = AutoConfig.for_model(settings.kind).to_dict()
    for key in settings.configuration:
        if key not in defaults:
            hint = did_you_mean(key, defaults, 3)
            raise ModelError(f"{name}: classifier.configuration: {settings.kind} has no key {key!r}{hint}")
    size: dict[str, Any] = {}
    if "image_size" in defaults:
        size["image_size"] = settings.image_size
        if isinstance(defaults["image_size"], Sequence):
            size["image_size"] = [settings.image_size] * 2
    try:
        return AutoConfig.for_model(
            settings.kind,
            **{**size, **settings.configuration},
            num_labels=classes,
            architectures=architectures[:1],  # of several the one without distillation
        )
    except (*_BUILD_ERRORS, StrictDataclassError) as error:
        raise ModelError(f"{name}: classifier.configuration: {one_line(error)}") from error


def _architectures(kind: str, name: str) -> list[str]:
    """Return the names of the library's classes that classify images with this kind."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

    found = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.get(kind)
    if found is None:
        hint = did_you_mean(kind, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, 3)
        raise ModelError(f"{name}: classifier.kind: transformers classifies no images with {kind!r}{hint}")
    return [found] if isinstance(found, str) else list(found)


def _pretrained(
    settings: ClassifierSettings, classes: int, name: str, offline: bool, revision: str | None
) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModelForImageClassification

    assert settings.pretrained is not None
    folder = pretrained_folder(settings.pretrained)
    place = str(folder) if folder is not None else settings.pretrained
    options: dict[str, Any] = {"local_files_only": offline}
    if folder is None and revision is not None:
        options["revision"] = revision
    config = load_config(place, name, {**options, "num_labels": classes})
    if config.model_type != settings.kind:
        raise ModelError(
            f"{name}: classifier.pretrained: {place} is of the kind {config.model_type}, not {settings.kind}"
        )
    known = _architectures(settings.kind, name)
    if not set(config.architectures or ()).intersection(known):
        config.architectures = known[:1]  # saved as a backbone, or for another task
    try:
        network, info = AutoModelForImageClassification.from_pretrained(
            place,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    except (*_BUILD_ERRORS, SafetensorError) as error:
        raise ModelError(f"{name}: classifier.pretrained: {place}: {one_line(error)}") from error
    head = _head(config)
    lacking = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    wrong = sorted(key for key in lacking if key.split(".")[0] not in head)
    if wrong:
        raise ModelError(
            f"{name}: classifier.pretrained: {place}: {len(wrong)} weights below the head are missing or of "
            f"another shape, the first is {wrong[0]}; they would be random numbers"
        )
    return network


def _head(config: Any) -> set[str]:
    """Return the names of the modules whose shapes depend on the number of classes."""
    from transformers import AutoModelForImageClassification

    shapes = []
    for classes in (3, 5):
        other = type(config).from_dict({**config.to_dict(), "num_labels": classes})
        other.num_labels = classes
        weights = AutoModelForImageClassification.from_config(other).state_dict()
        shapes.append({key: value.shape for key, value in weights.items()})
    return {key.split(".")[0] for key, shape in shapes[0].items() if shape != shapes[1][key]}


@torch.inference_mode()
def _try(classifier: Classifier, settings: ClassifierSettings, classes: int, name: str) -> None:
    side = settings.image_size
    try:
        scores = classifier.eval()(torch.zeros(2, 3, side, side))
    except _BUILD_ERRORS as error:
        raise ModelError(
            f"{name}: {settings.kind} cannot take pictures of {side} pixels a side ({one_line(error)}); "
            "choose another image_size"
        ) from error
    if scores.shape != (2, classes):
        raise ModelError(f"{name}: {settings.kind} gives {tuple(scores.shape)} scores, not (2, {classes})")
