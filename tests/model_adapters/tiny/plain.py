"""What an engine computes, computed plainly: one image at a time, no padding, no cache, no hooks."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from model_adapters.engines.transformers.processors import load_processor
from model_adapters.interface import Query
from tests.model_adapters.tiny.models import WITH_OWN_CODE

TURN_ENDS = {
    "llava_clip": "</s>",
    "llava_next": "</s>",
    "gemma3": "<end_of_turn>",
    "idefics3": "<end_of_utterance>",
    "smolvlm": "<end_of_utterance>",
}


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def queries() -> tuple[Query, ...]:
    """Questions whose pictures, prompts and labels differ in size, length and number."""
    short, long = "normal or benign?", "A longer question: what does this image of a patient show?"
    return (
        Query("a", picture(32, 32, 1), short, ("normal", "benign", "malignant")),
        Query("b", picture(64, 32, 2), long, ("A", "B", "C")),
        Query("c", picture(40, 70, 3), short, ("benign", "malignant", "benign cyst")),
        Query("d", picture(33, 32, 4), short, ("normal", "benign")),
        Query("e", picture(100, 60, 5), "?", ("D", "pneumonia")),
    )


class PlainModel:
    """A model and its processor, used as the library's documentation does."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = load_processor(str(folder), self.model.config, name)

    def rendered(self, prompt: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        turn = [{"role": "user", "content": content}]
        return str(self.processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False))

    def inputs(self, query: Query, answer: str = "") -> dict[str, Any]:
        text = self.rendered(query.prompt) + answer
        begins = self.name == "llava_next"  # the one template that leaves the first token to its tokenizer
        made = self.processor(
            text=[text], images=[[query.image]], return_tensors="pt", add_special_tokens=begins
        )
        accepted = inspect.signature(self.model.forward).parameters
        return {key: value for key, value in made.items() if key in accepted}

    def label_score(self, query: Query, label: str, *, ended: bool = False) -> tuple[float, int]:
        """Return the sum of log p over a label's tokens, from one forward pass, and their number."""
        space = " " if self.rendered(query.prompt).endswith(":") else ""
        end = TURN_ENDS.get(self.name, "<|im_end|>") if ended else ""
        start = self.inputs(query)["input_ids"].shape[1]
        inputs = self.inputs(query, space + label + end)
        with torch.no_grad():
            logits = self.model(**inputs, use_cache=False).logits[0].float()
        tokens = inputs["input_ids"][0, start:]
        steps = torch.log_softmax(logits, -1)[start - 1 : -1]
        return float(steps[torch.arange(len(tokens)), tokens].sum()), len(tokens)

    def features(self, query: Query) -> dict[str, np.ndarray]:
        """Return the pooled features that `output_hidden_states` and `get_image_features` give."""
        inputs = self.inputs(query)
        accepted = inspect.signature(self.model.get_image_features).parameters
        pictures = {key: value for key, value in inputs.items() if key in accepted}
        with torch.no_grad():
            seen = self.model.get_image_features(**pictures, output_hidden_states=True, return_dict=True)
            read = self.model(**inputs, output_hidden_states=True, use_cache=False)
            found = {
                f"vision.{i:02d}.mean": self._image_mean(h) for i, h in enumerate(seen.hidden_states[1:])
            }
            found["connector.00.mean"] = self._connector_mean(seen)
        is_image = inputs["input_ids"][0] == self.model.config.image_token_id
        for i, states in enumerate(read.hidden_states[1:-1]):
            found[f"llm.{i:02d}.mean"] = states[0][is_image].mean(0).numpy()
            found[f"llm.{i:02d}.last"] = states[0, -1].numpy()
        return found

    def normed_last_state(self, query: Query) -> np.ndarray:
        """Return the decoder's last state at the last prompt token, after the final norm."""
        with torch.no_grad():
            read = self.model(**self.inputs(query), output_hidden_states=True, use_cache=False)
        return read.hidden_states[-1][0, -1].numpy()

    def last_layer_mean(self, query: Query) -> np.ndarray:
        """Return the mean over the image tokens of the last decoder layer's output, before the final norm."""
        inputs, states = self.inputs(query), []
        layer = self.model.get_decoder().layers[-1]
        hook = layer.register_forward_hook(
            lambda _m, _i, out: states.append(out[0] if isinstance(out, tuple) else out)
        )
        with torch.no_grad():
            self.model(**inputs, use_cache=False)
        hook.remove()
        is_image = inputs["input_ids"][0] == self.model.config.image_token_id
        return states[0][0][is_image].mean(0).numpy()

    def image_tokens(self, query: Query) -> int:
        """Return how many embeddings the model makes of an image."""
        inputs = self.inputs(query)
        accepted = inspect.signature(self.model.get_image_features).parameters
        with torch.no_grad():
            made = self.model.get_image_features(
                **{key: value for key, value in inputs.items() if key in accepted}, return_dict=True
            ).pooler_output
        return sum(block.reshape(-1, block.shape[-1]).shape[0] for block in _listed(made))

    def _image_mean(self, states: torch.Tensor) -> np.ndarray:
        if states.ndim == 3 and getattr(self.model.config, "vision_feature_select_strategy", "") == "default":
            states = states[:, 1:]
        return states.reshape(-1, states.shape[-1]).mean(0).numpy()

    def _connector_mean(self, seen: Any) -> np.ndarray:
        if self.name == "llava_next":  # what it returns is already cut to the picture, with line breaks added
            made = self.model.model.multi_modal_projector(seen.hidden_states[-2][:, 1:])
            return made.flatten(0, 1).mean(0).numpy()
        return torch.cat([b.reshape(-1, b.shape[-1]) for b in _listed(seen.pooler_output)]).mean(0).numpy()


def _listed(made: Any) -> Iterable[torch.Tensor]:
    return made if isinstance(made, list | tuple) else [made]


class PlainHuluMed(PlainModel):
    """Hulu-Med through its own processor and code alone, a picture handed over as an array."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=True
        ).eval()
        rotary = self.model.model.vision_encoder.encoder.rotary_pos_emb
        rotary.inv_freq.copy_(10000.0 ** -(torch.arange(0, 6, 2) / 6))  # no checkpoint holds it
        self.model.config.image_token_id = self.model.config.image_token_index
        self.processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)

    def inputs(self, query: Query, answer: str = "") -> dict[str, Any]:
        text = self.rendered(query.prompt) + answer
        made = self.processor(text=text, images=[np.asarray(query.image)], return_tensors="pt")
        return dict(made)

    def features(self, query: Query) -> dict[str, np.ndarray]:
        inputs, seen = self.inputs(query), {}
        encoder, projector = self.model.model.vision_encoder, self.model.model.mm_projector
        states = encoder.embeddings(inputs["pixel_values"])
        is_image = inputs["input_ids"][0] == self.model.config.image_token_index
        with torch.no_grad():
            for i in range(len(encoder.encoder.layers)):
                partial = copy.copy(encoder.encoder)
                partial._modules = {**partial._modules, "layers": encoder.encoder.layers[: i + 1]}
                made = partial(states, inputs["grid_sizes"], inputs["merge_sizes"])
                seen[f"vision.{i:02d}.mean"] = made.mean(0).numpy()
            seen["connector.00.mean"] = projector(encoder.post_layernorm(made)).mean(0).numpy()
            read = self.model(**inputs, output_hidden_states=True, use_cache=False)
        for i, states in enumerate(read.hidden_states[1:-1]):
            seen[f"llm.{i:02d}.mean"] = states[0][is_image].mean(0).numpy()
            seen[f"llm.{i:02d}.last"] = states[0, -1].numpy()
        return seen

    def image_tokens(self, query: Query) -> int:
        inputs = self.inputs(query)
        pictures = {key: inputs[key] for key in ("pixel_values", "grid_sizes", "merge_sizes")}
        with torch.no_grad():
            return len(self.model.encode_images(**pictures))


@cache
def plain_model(folder: Path, name: str) -> PlainModel:
    """Load a model once."""
    return PlainHuluMed(folder, name) if name in WITH_OWN_CODE else PlainModel(folder, name)
