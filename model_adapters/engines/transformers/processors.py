"""Load a model's processor, also where only its video half lacks a library."""

from __future__ import annotations

from typing import Any

from model_adapters.interface import ModelError, one_line
from model_adapters.support.remote_code import family_of_config

# What a broken or unsupported model, or code that it brings, makes the library raise while it loads.
LOAD_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    ImportError,
    NameError,
    SyntaxError,
    AssertionError,
)
# What cards and papers call them -> where the processor keeps them, counted in pixels despite the name.
_PIXEL_LIMITS = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}
# Options of `from_pretrained` that are no settings of what is loaded.
_OF_LOADING = {"trust_remote_code", "local_files_only", "revision", "use_fast", "backend"}


def load_processor(location: str, config: Any, name: str, **options: Any) -> Any:
    """Load the processor of a local folder or hub id; `options` go to `from_pretrained`.

    Some processors pair images with a video processor that needs torchvision. Where that is missing,
    the same processor is loaded without its video half, which no question here uses.

    Raises:
        ModelError: no processor can be loaded, or it has no such setting.
    """
    from transformers import AutoProcessor

    limits = {key: options.pop(key) for key in _PIXEL_LIMITS if key in options}
    try:
        processor = AutoProcessor.from_pretrained(location, **options)
    except LOAD_ERRORS as error:
        processor = _without_video(location, config, options)
        if processor is None:
            raise ModelError(f"{name}: its processor cannot be loaded ({one_line(error)})") from error
    if getattr(processor, "tokenizer", None) is None or not hasattr(processor, "image_processor"):
        raise ModelError(f"{name}: its processor ({type(processor).__name__}) does not take images and text")
    _refuse_ignored(processor, set(options) - _OF_LOADING, name)
    family = family_of_config(config)
    if family is not None:
        processor = family.processor(processor)
    if limits:
        _limit_pixels(processor.image_processor, limits, name)
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise ModelError(f"{name}: its tokenizer has neither a padding nor an end token")
        tokenizer.pad_token = tokenizer.eos_token
    return processor


def _refuse_ignored(processor: Any, settings: set[str], name: str) -> None:
    """Refuse settings that no part of a processor has: the library drops them without a word."""
    parts = (processor, processor.image_processor, processor.tokenizer)
    if ignored := sorted(key for key in settings if not any(hasattr(part, key) for part in parts)):
        raise ModelError(
            f"{name}: processor.{ignored[0]}: neither its processor ({type(processor).__name__}) nor its "
            "parts have such a setting"
        )


def _limit_pixels(image_processor: Any, limits: dict[str, int], name: str) -> None:
    """Set the smallest and largest picture of a processor that keeps shapes (the Qwen-VL families)."""
    for key, value in limits.items():
        if type(value) is not int or value < 1:
            raise ModelError(f"{name}: processor.{key}: {value!r} is no number of pixels")
    size = dict(getattr(image_processor, "size", None) or {})
    if size.get("shortest_edge") is None or size.get("longest_edge") is None:
        raise ModelError(f"{name}: its processor ({type(image_processor).__name__}) takes no {min(limits)}")
    size.update({_PIXEL_LIMITS[key]: value for key, value in limits.items()})
    image_processor.size = type(image_processor.size)(**size)


def _without_video(location: str, config: Any, options: dict[str, Any]) -> Any:
    """Load the image and text halves of a processor; None where the class has no video half or they fail."""
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    processor_class = PROCESSOR_MAPPING.get(type(config), None)
    if processor_class is None or "video_processor" not in processor_class.get_attributes():
        return None
    try:
        return _image_half(processor_class).from_pretrained(location, **options)
    except LOAD_ERRORS:
        return None  # the first error says more: it is about the processor that was asked for


def _image_half(processor_class: Any) -> Any:
    """Return a class that does what another one does with images and text.

    SmolVLM's own cannot be made without num2words, which writes out how many frames a video has. Its images
    are cut into tiles and written as tokens exactly as Idefics3's are, whose processor knows no videos.
    """
    if processor_class.__name__ == "SmolVLMProcessor":
        from transformers import Idefics3Processor

        return Idefics3Processor
    return image_only(processor_class)


def image_only(processor_class: Any) -> Any:
    """Return a processor class that has images and text but no videos."""

    class ImageOnlyProcessor(processor_class):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in processor_class.get_attributes() if name != "video_processor"]

    ImageOnlyProcessor.__name__ = processor_class.__name__
    ImageOnlyProcessor.__qualname__ = processor_class.__qualname__
    return ImageOnlyProcessor


def settings_of(processor: Any) -> dict[str, Any]:
    """Return the settings of a processor that can change pixels or tokens, for a model's fingerprint."""
    image = processor.image_processor.to_dict()
    kept = {
        key: value
        for key, value in sorted(image.items())
        if isinstance(value, bool | int | float | str | list)
    }
    sizes = {key: dict(value) for key, value in sorted(image.items()) if isinstance(value, dict)}
    return {
        "processor": type(processor).__name__,
        "image_processor": type(processor.image_processor).__name__,
        "tokenizer": type(processor.tokenizer).__name__,
        **kept,
        **sizes,
    }
