"""The tiny models in the layout that released ones have, which vLLM insists on and transformers reads too."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.model_adapters.tiny.models import BUILDERS

HEAD_WIDTH = 32  # the narrowest for which vLLM's attention on the CPU has a kernel
_CLIP_OR_SIGLIP = ("llava_clip", "llava_siglip", "llava_next", "gemma3")
_TOWERS = ("vision_tower.", "model.vision_tower.")
_TOWER_PARTS = ("embeddings.", "encoder.", "pre_layrnorm.", "post_layernorm.")


def build(name: str, folder: Path) -> Path:
    """Build a tiny model in a folder as vLLM loads it, and return the folder."""
    BUILDERS[name](folder, head_width=HEAD_WIDTH)
    if name in _CLIP_OR_SIGLIP:
        name_tower_as_on_the_hub(folder)
    if name == "gemma3":
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_tokens(["\n" * count for count in range(1, 5)])  # Gemma has a token for each
        tokenizer.save_pretrained(folder)
    return folder


def name_tower_as_on_the_hub(folder: Path) -> None:
    """Write a CLIP or SigLIP tower's weights as `vision_tower.vision_model.…`, where newer names leave it out."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    save_file({_hub_name(key): value for key, value in weights.items()}, file, metadata={"format": "pt"})


def _hub_name(key: str) -> str:
    for tower in _TOWERS:
        if key.startswith(tuple(tower + part for part in _TOWER_PARTS)):
            return f"{tower}vision_model.{key.removeprefix(tower)}"
    return key
