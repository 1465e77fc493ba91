"""Tiny models of the real architectures, random weights, saved as ordinary Hugging Face folders.

Built from the library's own configuration classes, so that the code under test loads them exactly as it
loads a released model. Vocabulary: bytes, a few merges, and each family's special tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.model_adapters.tiny.llava import gemma3, llava_clip, llava_next, llava_siglip
from tests.model_adapters.tiny.own_code import hulu_med, hulu_med_qwen2
from tests.model_adapters.tiny.qwen import qwen2_5_vl, qwen2_vl, qwen3_vl
from tests.model_adapters.tiny.tiles import idefics3, internvl, smolvlm

BUILDERS: dict[str, Callable[..., Path]] = {
    "llava_clip": llava_clip,
    "llava_siglip": llava_siglip,
    "llava_next": llava_next,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "gemma3": gemma3,
    "internvl": internvl,
    "idefics3": idefics3,
    "smolvlm": smolvlm,
}

WITH_OWN_CODE: dict[str, Callable[..., Path]] = {"hulu_med": hulu_med, "hulu_med_qwen2": hulu_med_qwen2}
