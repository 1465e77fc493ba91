"""Random models of chosen sizes, asked and tuned as real ones are, and what the budget's formula calls them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests' parts of models

from tools.study_budget import ModelSize

PROMPT = "What does the ultrasound image show? Answer with one word: normal, benign or malignant."
LABELS = ("normal", "benign", "malignant")
ASKED = 16  # images in a measured forward pass
LEARNED = 4  # images in a measured step
RANK = 16
_PATCH = 8


@dataclass(frozen=True)
class Shape:
    """The sizes of a LLaVA with a SigLIP tower: every patch becomes one image token."""

    vision_blocks: int
    vision_width: int
    llm_blocks: int
    llm_width: int
    side: int  # patches along a side

    @property
    def title(self) -> str:
        """The shape in a table."""
        vision = f"{self.vision_blocks} x {self.vision_width}"
        return f"{vision}, {self.llm_blocks} x {self.llm_width}, {self.side**2} tokens"


@dataclass(frozen=True)
class Measured:
    """Seconds of processor time an image, and bytes that a step keeps for its backward pass an image."""

    shape: Shape
    size: ModelSize
    prompt_tokens: int
    observe: float
    step: float
    recomputed: float
    kept: float = field(default=0.0)


def build(shape: Shape, folder: Path) -> Path:
    """Write a random model."""
    from transformers import (
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        SiglipImageProcessorPil,
        SiglipVisionConfig,
    )

    from tests.model_adapters.tiny.parts import CHATML, save, tokenizer

    tokens = tokenizer(("<image>", "<|im_start|>", "<|im_end|>"), eos_token="<|im_end|>")
    pixels = _PATCH * shape.side
    text = LlamaConfig(
        hidden_size=shape.llm_width,
        intermediate_size=3 * shape.llm_width,
        num_hidden_layers=shape.llm_blocks,
        num_attention_heads=shape.llm_width // 32,
        num_key_value_heads=shape.llm_width // 32,
        vocab_size=len(tokens) + 8,
        bos_token_id=1,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=0,
    )
    vision = SiglipVisionConfig(
        hidden_size=shape.vision_width,
        intermediate_size=4 * shape.vision_width,
        num_hidden_layers=shape.vision_blocks,
        num_attention_heads=shape.vision_width // 32,
        image_size=pixels,
        patch_size=_PATCH,
        vision_use_head=False,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    processor = LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size={"height": pixels, "width": pixels}),
        tokenizer=tokens,
        patch_size=_PATCH,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=CHATML.replace("IMAGE", "<image>\n"),
    )
    return save(folder, config, processor, LlavaForConditionalGeneration, eos=tokens.eos_token_id)


def size_of(engine: Any, image_tokens: int) -> ModelSize:
    """Return what the formula needs of a loaded model, counted in its modules."""
    anatomy = engine.anatomy
    vision, llm = _matrices(anatomy.encoder), _matrices(anatomy.decoder_layers)
    return ModelSize(
        vision_blocks=len(anatomy.vision_blocks),
        vision_width=next(s.width for s in engine.sites if s.module == "vision" and s.pool == "mean"),
        vision_parameters=sum(m.weight.numel() for m in vision),
        llm_blocks=len(anatomy.decoder_layers),
        llm_width=next(s.width for s in engine.sites if s.module == "llm"),
        llm_parameters=sum(m.weight.numel() for m in llm),
        connector_parameters=sum(p.numel() for p in anatomy.connector.parameters()),
        patches=image_tokens,
        image_tokens=image_tokens,
        llm_linear_sides=sum(sum(m.weight.shape) for m in llm),
        weight_bytes=4,
        stored_parameters=sum(p.numel() for p in engine._model.parameters()),
    )


def _matrices(part: Any) -> list[Any]:
    from torch import nn

    roots = [part] if isinstance(part, nn.Module) else list(part)
    return [m for root in roots for m in root.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def measure(shape: Shape, folder: Path, repetitions: int) -> Measured:
    """Build, ask, and tune a model of a shape."""
    from model_adapters.catalog.registry import load_engine, resolve
    from model_adapters.finetune.settings import TuningSettings
    from model_adapters.interface import Query

    place = build(shape, folder / shape.title.replace(" ", "").replace(",", "-"))
    engine: Any = load_engine(resolve([str(place)])[0].card, device="cpu", batch_size=ASKED)
    queries = [Query(str(i), picture(shape, i), PROMPT, LABELS) for i in range(ASKED)]
    tokens = engine.image_tokens(queries[:1])[0]
    size = size_of(engine, tokens)
    prompt = int(engine._prepare(queries[:1]).attention_mask.sum()) - tokens
    observe = _seconds(lambda: engine.score(queries, observe=True), repetitions) / ASKED
    settings = TuningSettings(rank=RANK, alpha=RANK, dropout=0.05, micro_batch=LEARNED, batch=LEARNED)
    step, recomputed, kept = _tuned(engine, shape, settings, repetitions)
    engine.close()
    return Measured(shape, size, prompt, observe, step, recomputed, kept)


def picture(shape: Shape, seed: int) -> Image.Image:
    """Return noise of the model's own size."""
    pixels = _PATCH * shape.side
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (pixels, pixels, 3), dtype=np.uint8))


def _tuned(engine: Any, shape: Shape, settings: Any, repetitions: int) -> tuple[float, float, float]:
    """Return seconds an image of a step, of one that recomputes, and the bytes that the former keeps."""
    from dataclasses import replace

    from model_adapters.finetune.language import LanguageObjective, TuningTask
    from model_adapters.finetune.lora import attach
    from model_adapters.interface import LabelledImages, TrainingImages

    labelled = LabelledImages(np.arange(LEARNED) % len(LABELS), lambda i: picture(shape, i))
    task = TuningTask(PROMPT, TrainingImages("bench", LABELS, labelled, labelled))
    attached, found = attach(engine, settings), []
    chosen = list(range(LEARNED))
    kept = 0.0
    for recompute in (False, True):
        objective = LanguageObjective(engine, attached, task, replace(settings, recompute=recompute))
        objective.train_mode(True)
        if not recompute:
            kept = _kept_bytes(objective, chosen) / LEARNED
        found.append(_seconds(lambda made=objective: made.loss(chosen).backward(), repetitions) / LEARNED)
        objective.train_mode(False)
    return found[0], found[1], kept


def _kept_bytes(objective: Any, chosen: list[int]) -> float:
    """Return the bytes that a forward pass keeps for the backward one, weights aside, each storage once."""
    import torch

    own = {p.untyped_storage().data_ptr() for p in objective._engine._model.parameters()}
    seen: dict[int, int] = {}
    alive: list[Any] = []  # so that no address is used twice

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        objective.loss(chosen)
    return float(sum(seen.values()))


def _seconds(work: Callable[[], object], repetitions: int) -> float:
    work()
    taken = []
    for _ in range(repetitions):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return median(taken)
