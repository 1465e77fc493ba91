"""Low-rank updates (LoRA) on a loaded model, and weights trained in full beside them: attach and save.

A tuned model is its base with the updates merged into the weights, so that anatomy, hooks and everything else
work as for any model. What is saved is an ordinary adapter folder of peft.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model_adapters.anatomy.find import Anatomy
from model_adapters.catalog.tuned import ADAPTER, FULL
from model_adapters.engines.transformers.adapter import require_peft, without_hints
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.finetune.settings import TuningSettings
from model_adapters.interface import ModelError
from model_adapters.support.training import seeded
from tasks.files import replacing
from tasks.problems import did_you_mean


@dataclass(frozen=True, eq=False)
class Attached:
    """A model that is ready to be tuned.

    `parameters` are all that training changes, by the names they are saved under: those of `in_full` as they
    are in the model, the others as peft has them. `adapter` is peft's configuration, None without updates.
    """

    parameters: dict[str, nn.Parameter] = field(repr=False)
    in_full: frozenset[str] = field(repr=False)
    adapter: Any = field(repr=False)


def target_modules(engine: TransformersEngine, settings: TuningSettings) -> tuple[str, ...]:
    """Return the full names of the linear layers that get low-rank updates.

    For the language part those inside the decoder's layers (never the head), with `vision` those inside the
    vision blocks too; for the vision part those of the blocks up to the one that the connector reads.

    Raises:
        ModelError: there is none, or a target names none.
    """
    anatomy, title = engine.anatomy, engine.card.name
    parts: list[nn.Module] = []
    if settings.part == "language":
        parts += anatomy.decoder_layers
    if settings.part == "vision" or settings.vision:
        parts += anatomy.vision_blocks[: anatomy.consumed_layer + 1]
    inside = {id(module) for part in parts for module in part.modules() if isinstance(module, nn.Linear)}
    found = [name for name, module in engine._model.named_modules() if id(module) in inside]
    if not found:
        raise ModelError(
            f"{title}: its {settings.part} part has no plain linear layer to tune (are the weights quantised?)"
        )
    if not settings.targets:
        return tuple(found)
    last_names = sorted({name.rpartition(".")[2] for name in found})
    for target in settings.targets:
        if target not in last_names:
            hint = did_you_mean(target, last_names, 3) or f"; there are {', '.join(last_names)}"
            raise ModelError(f"{title}: no linear layer of its {settings.part} part is {target!r}{hint}")
    return tuple(name for name in found if name.rpartition(".")[2] in settings.targets)


def attach(engine: TransformersEngine, settings: TuningSettings) -> Attached:
    """Freeze a model, then put updates on its target modules and free what is trained in full.

    Updates begin as no change; their first factors are drawn with the settings' seed. What is trained is in
    float32 whatever the model's own precision.

    Raises:
        ModelError: peft is not installed, the model cannot be tuned, or a target is unknown.
    """
    model, title = engine._model, engine.card.name
    require_peft(title)
    if engine.description.dtype == "float16":
        raise ModelError(f"{title}: is in float16, which cannot be tuned; use --model-args dtype=bfloat16")
    if getattr(model, "is_quantized", False):
        raise ModelError(f"{title}: its weights are quantised; fine-tune the weights that they come from")
    model.requires_grad_(False)
    trained = _trained_in_full(engine.anatomy, settings)
    full = {name: p for name, p in model.named_parameters() if id(p) in trained}
    for parameter in full.values():
        parameter.requires_grad_(True)
        parameter.data = parameter.data.float()
    if settings.method == "full":
        return Attached(full, frozenset(full), None)
    configuration, updates = _inject(engine, target_modules(engine, settings), settings)
    return Attached({**full, **updates}, frozenset(full), configuration)


def _trained_in_full(anatomy: Anatomy, settings: TuningSettings) -> set[int]:
    """Return the ids of the parameters that training changes themselves."""
    connector = {id(p) for p in anatomy.connector.parameters()}
    if settings.part == "language":
        return connector if settings.connector else set()
    if settings.method == "lora":
        return set()
    unread = {id(p) for b in anatomy.vision_blocks[anatomy.consumed_layer + 1 :] for p in b.parameters()}
    return {id(p) for p in anatomy.encoder.parameters()} - unread - connector


def _inject(
    engine: TransformersEngine, targets: tuple[str, ...], settings: TuningSettings
) -> tuple[Any, dict[str, nn.Parameter]]:
    from peft import LoraConfig, PeftModel

    configuration = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(targets),
        bias="none",
        base_model_name_or_path=engine.card.hub_id or engine.card.name,
    )
    kept = {id(p) for p in engine._model.parameters() if p.requires_grad}
    with seeded(settings.seed, torch.device(engine.description.device)), without_hints():
        wrapped = PeftModel(engine._model, configuration)
    for parameter in wrapped.parameters():  # peft freezes all but its own
        if id(parameter) in kept:
            parameter.requires_grad_(True)
    # Peft shortens the names where it can and forgets their order; the file is to be the same every time.
    configuration.target_modules = sorted(targets)
    updates = {
        name.replace(".default.", "."): parameter
        for name, parameter in wrapped.named_parameters()
        if ".lora_A." in name or ".lora_B." in name
    }
    return configuration, updates


def set_training(engine: TransformersEngine, settings: TuningSettings, training: bool) -> None:
    """Put what is trained into training mode or all into evaluation; what is frozen never drops anything out."""
    model, anatomy = engine._model, engine.anatomy
    model.train(training)
    if training and settings.part == "language" and not settings.vision:
        anatomy.encoder.eval()
        anatomy.connector.train()  # in some families a part of the encoder
    if settings.recompute:
        with without_hints():
            if training:
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            else:
                model.gradient_checkpointing_disable()


def save_tuned(folder: Path, attached: Attached, weights: Mapping[str, Tensor]) -> None:
    """Write weights as an adapter folder, each file whole or not at all; `weights` go by `Attached.parameters`.

    Raises:
        ModelError: the folder cannot be written.
    """
    updates = {name: tensor for name, tensor in weights.items() if name not in attached.in_full}
    full = {name: weights[name] for name in attached.in_full}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if attached.adapter is not None:
            _write(folder / ADAPTER, updates)
            attached.adapter.inference_mode = True
            attached.adapter.save_pretrained(str(folder))
        if full:
            _write(folder / FULL, full)
    except OSError as error:
        raise ModelError(
            f"{folder}: cannot be written ({error.strerror}); choose another --output"
        ) from error


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    kept = {name: t.contiguous() for name, t in sorted(tensors.items())}
    with replacing(path, exclusive=True) as part:
        save_file(kept, part, metadata={"format": "pt"})


def changed(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Return copies of the parameters in the CPU's memory."""
    return {name: parameter.detach().cpu().clone() for name, parameter in parameters.items()}


@torch.no_grad()
def put_back(parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    """Give parameters the values of equally named weights."""
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])


def count(parameters: Iterable[nn.Parameter]) -> int:
    """Return how many numbers are trained."""
    return sum(parameter.numel() for parameter in parameters)
