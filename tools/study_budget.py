"""What a study costs: bytes of features, floating-point operations and memory, worked out from a few sizes.

Nothing here loads a model. `tools/bench/study_budget.py` holds the formula against measured times of small models
and writes what it says of the paper's grid to docs/study-budget.md.

Operations count a multiplication and an addition as two. A matrix of n weights costs 2 n of them a token, forward;
its backward pass costs 2 n for the gradient of its input, and 2 n more only where the matrix itself is trained. Of
a model that is tuned by low-rank updates the large matrices are frozen, so a step is about twice a forward pass and
not three times (arXiv:2106.09685, section 4.2, for what is saved).
"""

from __future__ import annotations

from dataclasses import dataclass

_FLOAT32 = 4  # bytes
# Of a trained number in float32: itself, its gradient, and Adam's two moments.
_TRAINED_BYTES = 4 * _FLOAT32
# Numbers that a block with low-rank updates and dropout on all its linear layers keeps for the backward pass, for
# each token and each input and output of these layers. Measured: see docs/study-budget.md. A plain block keeps
# half of that (arXiv:2205.05198, section 4.1); scores of attention are kept by neither.
KEPT_PER_SIDE = 1.75


@dataclass(frozen=True)
class ModelSize:
    """The sizes of one model that decide what it costs.

    `vision_parameters` and `llm_parameters` count the weights of the matrices that every patch and every token is
    multiplied with: embeddings are none of them, and where only the whole is known they make the formula high.
    `llm_linear_sides` is the sum over all linear layers of the decoder of inputs and outputs, which low-rank
    updates grow with.
    """

    vision_blocks: int
    vision_width: int
    vision_parameters: float
    llm_blocks: int
    llm_width: int
    llm_parameters: float
    connector_parameters: float
    patches: int  # that the vision encoder sees of an image
    image_tokens: int  # that the decoder sees of an image
    llm_linear_sides: float
    merged: int = 1  # patches that the connector puts side by side into one token
    weight_bytes: int = 2  # of a number: 2 in bfloat16, 4 in float32
    stored_parameters: float | None = (
        None  # of the whole model with its embeddings; None: the sum of the parts
    )

    @property
    def parameters(self) -> float:
        """All weights of the model."""
        parts = self.vision_parameters + self.llm_parameters + self.connector_parameters
        return parts if self.stored_parameters is None else self.stored_parameters


@dataclass(frozen=True)
class TaskSize:
    """How many images a task has, and how it asks about them.

    `variants` are the questions about a test image beside the primary one: paraphrases and option orders.
    """

    train: int
    validation: int
    test: int
    classes: int
    prompt_tokens: int
    variants: int
    new_tokens: int  # of a free answer, at most

    @property
    def images(self) -> int:
        """All images that are observed."""
        return self.train + self.validation + self.test


@dataclass(frozen=True)
class TuningSize:
    """What of a fine-tuning decides its cost; the names are those of `TuningSettings`."""

    images: int
    validation: int  # images at each look
    rank: int = 64
    epochs: int = 3
    looks: int = 11  # the one before the first step counted
    micro_batch: int = 4
    recompute: bool = False
    connector: bool = True


def feature_width(model: ModelSize) -> int:
    """Return how many numbers are stored of an image: the widths of all sites added up.

    Every vision block has its mean, the one that the connector reads its merged groups too where the connector
    merges; the connector its mean; every decoder layer the mean of the image's tokens and the last token.
    """
    regrouped = model.merged * model.vision_width if model.merged > 1 else 0
    return model.vision_blocks * model.vision_width + regrouped + (1 + 2 * model.llm_blocks) * model.llm_width


def feature_bytes(model: ModelSize, images: int) -> int:
    """Return the bytes of the arrays in `features.safetensors`; its header comes on top."""
    return _FLOAT32 * feature_width(model) * images


def letter_bytes(model: ModelSize, images: int) -> int:
    """Return the bytes of the arrays in `features-answer_target.safetensors`: last tokens alone."""
    return _FLOAT32 * model.llm_blocks * model.llm_width * images


def sites(model: ModelSize) -> int:
    """Return at how many places probes are fitted."""
    return model.vision_blocks + int(model.merged > 1) + 1 + 2 * model.llm_blocks


def vision_flops(model: ModelSize) -> float:
    """Return the operations of the vision encoder on one image, its attention counted as full."""
    return _tower_flops(model.vision_parameters, model.vision_blocks, model.vision_width, model.patches)


def llm_flops(model: ModelSize, prompt_tokens: int) -> float:
    """Return the operations of connector and decoder on one image and prompt."""
    tokens = model.image_tokens + prompt_tokens
    connector = 2 * model.connector_parameters * model.image_tokens
    return connector + _tower_flops(model.llm_parameters, model.llm_blocks, model.llm_width, tokens)


def _tower_flops(parameters: float, blocks: int, width: int, tokens: int) -> float:
    """Return the operations of a stack of blocks; attention is two products of tokens x tokens x width a block."""
    return 2 * parameters * tokens + 4 * blocks * tokens**2 * width


def prompt_flops(model: ModelSize, prompt_tokens: int) -> float:
    """Return the operations of one question about one image."""
    return vision_flops(model) + llm_flops(model, prompt_tokens)


def observing_flops(model: ModelSize, task: TaskSize) -> float:
    """Return the operations of the pass that answers and is watched, over all images."""
    return task.images * prompt_flops(model, task.prompt_tokens)


def further_flops(model: ModelSize, task: TaskSize, letters: int) -> float:
    """Return the operations of paraphrases and option orders, and of asking `letters` images for a letter."""
    return (task.test * task.variants + letters) * prompt_flops(model, task.prompt_tokens)


def writing_seconds(model: ModelSize, task: TaskSize, flops: float, bandwidth: float, batch: int) -> float:
    """Return the seconds that free answers of full length take at most.

    A step writes one token of each answer of a batch. It reads every weight once, so that the bandwidth of the
    memory (bytes a second) bounds it where the batch is small, else the operations (`flops` a second).
    """
    begin = task.test * prompt_flops(model, task.prompt_tokens) / flops
    operations = 2 * model.llm_parameters * batch / flops
    reading = model.llm_parameters * model.weight_bytes / bandwidth
    steps = -(-task.test // batch) * task.new_tokens
    return begin + steps * max(operations, reading)


def trained_parameters(model: ModelSize, tuning: TuningSize) -> float:
    """Return how many numbers are trained: rank times inputs and outputs of every layer, and the connector."""
    return tuning.rank * model.llm_linear_sides + (model.connector_parameters if tuning.connector else 0)


def step_flops(model: ModelSize, tuning: TuningSize, prompt_tokens: int) -> float:
    """Return the operations of learning from one image.

    The vision encoder is frozen and nothing is trained before it: forward alone. Connector and decoder: forward
    and the gradients of their inputs, with `recompute` forward once more. What is trained: its gradients too.
    """
    tokens = model.image_tokens + prompt_tokens
    passes = 3 if tuning.recompute else 2
    updates = 2 * tuning.rank * model.llm_linear_sides * tokens
    connector = 2 * model.connector_parameters * model.image_tokens if tuning.connector else 0
    through = passes * (llm_flops(model, prompt_tokens) + updates)
    return vision_flops(model) + through + updates + connector


def tuning_flops(model: ModelSize, tuning: TuningSize, prompt_tokens: int) -> float:
    """Return the operations of a whole fine-tuning that is not ended early."""
    learned = tuning.images * tuning.epochs * step_flops(model, tuning, prompt_tokens)
    return learned + tuning.looks * tuning.validation * prompt_flops(model, prompt_tokens)


def tuned_bytes(model: ModelSize, tuning: TuningSize) -> float:
    """Return the bytes of a finished tuned folder: what was trained, in float32."""
    return _FLOAT32 * trained_parameters(model, tuning)


def checkpoint_bytes(model: ModelSize, tuning: TuningSize) -> float:
    """Return the bytes of a checkpoint, which is removed at the end: weights, two moments, and the best weights."""
    return 4 * tuned_bytes(model, tuning)


def tuning_memory(model: ModelSize, tuning: TuningSize, prompt_tokens: int) -> float:
    """Return the bytes of a device that a fine-tuning needs.

    Weights; in float32 what is trained, its gradients and two moments; and what the backward pass needs of the
    images in memory at once. With `recompute` that is the input of every block, and one block in full.
    """
    activations = tuning.micro_batch * kept_bytes(model, prompt_tokens, recompute=tuning.recompute)
    trained = _TRAINED_BYTES * trained_parameters(model, tuning)
    return model.parameters * model.weight_bytes + trained + activations


def kept_bytes(model: ModelSize, prompt_tokens: int, *, recompute: bool) -> float:
    """Return the bytes that a forward pass over one image keeps for the backward pass."""
    tokens = model.image_tokens + prompt_tokens
    kept = KEPT_PER_SIDE * model.llm_linear_sides
    if recompute:
        kept = model.llm_blocks * model.llm_width + kept / model.llm_blocks
    return kept * tokens * model.weight_bytes


def answering_memory(model: ModelSize, task: TaskSize, batch: int) -> float:
    """Return the bytes of a device that answering needs: weights, keys and values, and one block at work.

    Keys and values are counted as wide as the model; grouped queries need less.
    """
    tokens = (model.image_tokens + task.prompt_tokens + task.new_tokens) * batch
    cache = 2 * model.llm_blocks * model.llm_width * tokens
    at_work = max(
        tokens * model.llm_linear_sides / model.llm_blocks, 20 * model.vision_width * model.patches * batch
    )
    return model.weight_bytes * (model.parameters + cache + at_work)


def probe_work(model: ModelSize, task: TaskSize) -> float:
    """Return what the seconds of linear probes go with: training images x numbers of an image x classes."""
    return float(task.train * feature_width(model) * task.classes)


def published_probe_flops(model: ModelSize, task: TaskSize, *, epochs: int = 20, trainings: int = 2) -> float:
    """Return the operations of the published readout: a hidden layer of at most 512 units at every site.

    Forward and backward are three times forward. Batches of four images keep a device from its full rate.
    """
    regrouped = [model.merged * model.vision_width] if model.merged > 1 else []
    widths = [model.vision_width] * model.vision_blocks + regrouped
    widths += [model.llm_width] * (1 + 2 * model.llm_blocks)
    weights = sum(width * min(width, 512) for width in widths)
    return 6.0 * weights * task.train * epochs * trainings
