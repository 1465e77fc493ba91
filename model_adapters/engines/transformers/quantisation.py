"""Quantise weights while they are read, with bitsandbytes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, get_args

import torch

from model_adapters.catalog.card import Quantisation
from model_adapters.interface import ModelError


def quantised(kind: str, device: torch.device, name: str) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that quantise a model's weights, the head left as it is.

    Raises:
        ModelError: no such kind, the library is not installed, or the device is Apple's GPU.
    """
    from transformers import BitsAndBytesConfig

    if kind not in get_args(Quantisation):
        known = ", ".join(get_args(Quantisation))
        raise ModelError(f"{name}: unknown quantisation {kind!r}; there are {known}")
    if device.type == "mps":
        raise ModelError(
            f"{name}: {kind} does not run on mps; leave the quantisation out or use another device"
        )
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            f"{name}: {kind} needs bitsandbytes: pip install 'mllm-harness[quantisation]', or leave it out"
        )
    if kind == "bitsandbytes-8bit":
        settings = BitsAndBytesConfig(load_in_8bit=True)
    else:
        settings = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    return {"quantization_config": settings, "device_map": {"": device}}
