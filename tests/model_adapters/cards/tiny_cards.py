"""For a card, a tiny random model of its architecture: as deep as the card says, a few dozen numbers wide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import shipped_cards
from tests.model_adapters.tiny.models import BUILDERS, WITH_OWN_CODE

GROUPS = ("paper", "bases", "medical")

# Class -> the builder of tests/model_adapters/tiny/models.py that makes it.
BUILDER_OF = {
    "Qwen2VLForConditionalGeneration": "qwen2_vl",
    "Qwen2_5_VLForConditionalGeneration": "qwen2_5_vl",
    "Qwen3VLForConditionalGeneration": "qwen3_vl",
    "Gemma3ForConditionalGeneration": "gemma3",
    "InternVLForConditionalGeneration": "internvl",
    "LlavaForConditionalGeneration": "llava_clip",
    "HulumedQwen2ForCausalLM": "hulu_med_qwen2",
    "HulumedQwen3ForCausalLM": "hulu_med",
}
# The text model behind a LLaVA, where it is not of Llama's architecture.
LANGUAGE_MODEL = {"llava-med-v1.5": "Mistral", "huatuogpt-vision-7b-hf": "Qwen2"}


@dataclass(frozen=True)
class TinyModel:
    """Which tiny model stands for a card; cards of the same architecture and depth share one."""

    builder: str
    vision_blocks: int
    llm_blocks: int
    options: tuple[tuple[str, str], ...] = field(default=())

    @property
    def brings_code(self) -> bool:
        """Whether it is loaded by code in its own folder."""
        return self.builder in WITH_OWN_CODE

    def build(self, root: Path) -> Path:
        """Build it below a folder and return where."""
        build: Callable[..., Path] = {**BUILDERS, **WITH_OWN_CODE}[self.builder]
        parts = (self.builder, self.vision_blocks, self.llm_blocks, *(value for _, value in self.options))
        return build(
            root / "-".join(map(str, parts)),
            vision_blocks=self.vision_blocks,
            llm_blocks=self.llm_blocks,
            **dict(self.options),
        )


def cards_of_users() -> tuple[ModelCard, ...]:
    """Return the cards of models that are fetched from the hub: the paper's first, then bases, then others."""
    cards = [card for card in shipped_cards().values() if set(GROUPS) & set(card.groups)]
    return tuple(sorted(cards, key=lambda card: min(map(GROUPS.index, set(card.groups) & set(GROUPS)))))


def tiny_model(card: ModelCard) -> TinyModel | None:
    """Return the tiny model of a card's architecture and depth, None where none can be built."""
    builder = BUILDER_OF.get(card.architecture or "")
    anatomy = card.anatomy
    if builder is None or anatomy.vision_blocks is None or anatomy.llm_blocks is None:
        return None
    text = LANGUAGE_MODEL.get(card.name)
    options = (("language_model", text),) if text else ()
    return TinyModel(builder, anatomy.vision_blocks, anatomy.llm_blocks, options)


def at_tiny_scale(card: ModelCard, folder: Path) -> ModelCard:
    """Return a card with all its own settings that says the weights are in a folder.

    Left out is only what a tiny model cannot have: the widths, the number of tokens of a large picture, and
    the library versions of the published code.
    """
    small = {"vision_width": None, "llm_width": None, "image_tokens": None, "pixels_per_image_token": None}
    return card.model_copy(
        update={
            "hub_id": None,
            "path": str(folder),
            "dtype": "float32",
            "requires": (),
            "anatomy": card.anatomy.model_copy(update=small),
        }
    )
