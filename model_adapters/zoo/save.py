"""Write a trained model as an ordinary Hugging Face folder that transformers and vLLM both read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from model_adapters.zoo.architecture import TinyModel

WEIGHTS = "model.safetensors"


def save_model(tiny: TinyModel, directory: Path) -> None:
    """Save weights in float16, configuration, tokenizer, chat template and processor to `directory`.

    transformers 5 drops `vision_model.` from the names of vision weights when it saves; vLLM needs it,
    and transformers reads both, so the names are put back.

    Raises:
        ValueError: if a weight does not fit into float16.
    """
    import copy

    from transformers import GenerationConfig

    from model_adapters.engines.transformers.load import quiet

    model = copy.deepcopy(tiny.model).to(torch.float16)
    broken = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if broken:
        raise ValueError(f"zoo: {broken[0]} does not fit into float16")
    tokenizer = tiny.processor.tokenizer
    model.generation_config = GenerationConfig(
        do_sample=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    directory.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(directory)
        tiny.processor.save_pretrained(directory)
    _rename(directory / WEIGHTS, tiny.renamed_keys)
    _name_tokenizer_class(directory / "tokenizer_config.json")


def _rename(file: Path, prefixes: Mapping[str, str]) -> None:
    from safetensors.torch import load_file, save_file

    renamed = {}
    for key, value in load_file(file).items():
        for saved, stored in prefixes.items():
            if key.startswith(saved) and not key.startswith(stored):
                key = stored + key.removeprefix(saved)
        renamed[key] = value.contiguous()
    save_file(renamed, file, metadata={"format": "pt"})
    file.chmod(0o644)


def _name_tokenizer_class(file: Path) -> None:
    """State the class under the name that older versions of transformers know, too."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
