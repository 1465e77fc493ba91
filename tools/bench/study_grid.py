"""The paper's grid by the formula: sizes from the cards and tasks, the device's numbers from the reader."""

from __future__ import annotations

from dataclasses import dataclass

from study_measured import ProbeRates
from table import Section

from leaderboard.scoring.letters import IMAGES
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import resolve
from tasks import catalog
from tasks.spec import TaskSpec
from tools import study_budget
from tools.study_budget import ModelSize, TaskSize, TuningSize

TASKS = ("busi", "covid19_ct", "chest_xray")
GROUPS = ("paper", "bases")
RECOMPUTE, MICRO_BATCH, EPOCHS = True, 2, 3  # as studies/paper.yaml has them
ANSWERED = 16  # images of an answering batch in the memory column
UNKNOWN = "not known"


@dataclass(frozen=True)
class Device:
    """What the reader says of the device and the images."""

    flops: float
    bandwidth: float
    memory: float
    pixels: int | None
    prompt_tokens: int


@dataclass(frozen=True)
class Hours:
    """Hours of one model over all tasks; probes on one core of a CPU."""

    answers: float
    tuning: float
    linear: float
    published: float
    disk: float  # bytes of features and tuned folders, both conditions

    def __add__(self, other: Hours) -> Hours:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Hours(*(a + b for a, b in pairs))


def model_size(card: ModelCard, pixels: int | None) -> ModelSize | None:
    """Return a card's sizes, None where the tokens of an image cannot be told."""
    a = card.anatomy
    if None in (a.vision_blocks, a.vision_width, a.llm_blocks, a.llm_width, card.memory_gb):
        return None
    merged = 4 if a.pixels_per_image_token == 784 else 1  # 28 x 28 pixels: patches of 14, merged 2 x 2
    tokens = a.image_tokens
    if tokens is None and a.pixels_per_image_token and pixels:
        most = card.processor.get("max_pixels", pixels)
        tokens = -(-min(pixels, most) // a.pixels_per_image_token)
    if tokens is None:
        return None
    patches = (
        4096 if tokens == 256 and a.image_tokens else tokens * merged
    )  # Gemma 3: 64 x 64, averaged 4 x 4
    whole = card.memory_gb * 1e9 / 2.4  # type: ignore[operator]  # two bytes a weight, and a fifth more
    blocks, width = a.llm_blocks, a.llm_width
    vision = 12.0 * a.vision_blocks * a.vision_width**2  # type: ignore[operator]
    connector = float(a.vision_width * width * merged + width * width)  # type: ignore[operator]
    if merged > 1:  # two layers, the first as wide as the group
        connector = float((merged * a.vision_width) ** 2 + merged * a.vision_width * width)  # type: ignore[operator]
    llm = whole - vision - connector
    hidden = (llm / blocks - 4 * width**2) / (3 * width)  # type: ignore[operator]
    sides = blocks * (8 * width + 3 * (width + hidden))  # type: ignore[operator]
    return ModelSize(
        a.vision_blocks, a.vision_width, vision, blocks, width, llm, connector, patches, tokens, sides, merged
    )  # type: ignore[arg-type]


def task_size(task: TaskSpec, prompt_tokens: int, *, reasons: int | None = None) -> TaskSize:
    """Return a task's size by its published counts; probes learn from half of train."""
    counts = dict(task.source.published_counts or {})
    train = counts["train"]
    validation = counts.get("val", round(0.1 * train))
    train = train if "val" in counts else train - validation
    letters = sum(prompt.kind == "letters" for prompt in task.prompts)
    classes = len(task.classes)
    orders = {2: 2, 3: 6}.get(classes, 4)
    return TaskSize(
        train=min(train // 2, task.max_train),
        validation=validation,
        test=counts["test"],
        classes=classes,
        prompt_tokens=prompt_tokens,
        variants=len(task.prompts) - letters - 1 + letters * orders,
        new_tokens=reasons or task.max_new_tokens,
    )


def tuning_size(task: TaskSize) -> TuningSize:
    """Return the fine-tuning of studies/paper.yaml."""
    return TuningSize(
        images=task.train,
        validation=min(task.validation, 500),
        epochs=EPOCHS,
        micro_batch=MICRO_BATCH,
        recompute=RECOMPUTE,
    )


def hours_of(card: ModelCard, size: ModelSize, device: Device, rates: ProbeRates) -> Hours:
    """Add up a model's hours over the tasks, as released and tuned."""
    total = Hours(0, 0, 0, 0, 0)
    for name in TASKS:
        task = task_size(catalog.load(name), device.prompt_tokens, reasons=card.max_new_tokens)
        tuning = tuning_size(task)
        letters = sum(
            min(most, n)
            for most, n in zip(IMAGES.values(), (task.train, task.validation, task.test), strict=True)
        )
        asked = study_budget.observing_flops(size, task) + study_budget.further_flops(size, task, letters)
        writing = study_budget.writing_seconds(size, task, device.flops, device.bandwidth, ANSWERED)
        work = study_budget.probe_work(size, task)
        mlp = study_budget.published_probe_flops(size, task) / (6 * 20 * 2)
        disk = study_budget.feature_bytes(size, task.images) + study_budget.letter_bytes(size, letters)
        total += Hours(
            answers=2 * (asked / device.flops + writing) / 3600,
            tuning=study_budget.tuning_flops(size, tuning, device.prompt_tokens) / device.flops / 3600,
            linear=2 * work * (rates.linear + rates.null) / 3600,
            published=2 * mlp * rates.published / 3600,
            disk=2 * disk + study_budget.tuned_bytes(size, tuning),
        )
    return total


def grid_sections(device: Device, rates: ProbeRates) -> list[Section]:
    """Return the table of the models and the sum."""
    rows, total, left, large, close = [], Hours(0, 0, 0, 0, 0), [], [], []
    weights = 0.0
    for group in GROUPS:
        for card in (found.card for found in resolve([group])):
            size = model_size(card, device.pixels)
            if size is None:
                rows.append((card.name, *[UNKNOWN] * 8))
                left.append(card.name)
                continue
            task = task_size(catalog.load("chest_xray"), device.prompt_tokens, reasons=card.max_new_tokens)
            found = hours_of(card, size, device, rates)
            memory = study_budget.tuning_memory(size, tuning_size(task), device.prompt_tokens)
            answering = study_budget.answering_memory(size, task, ANSWERED)
            if memory > device.memory:
                large.append(card.name)
            elif memory > 0.9 * device.memory:
                close.append(card.name)
            total += found
            weights += 2 * size.parameters
            rows.append(
                (
                    card.name,
                    f"{size.parameters / 1e9:.1f}",
                    f"{size.image_tokens}",
                    f"{found.answers:.2f}",
                    f"{found.tuning:.2f}",
                    f"{found.linear:.1f} / {found.published:.0f}",
                    f"{answering / 1e9:.0f}",
                    f"{memory / 1e9:.0f}",
                    f"{found.disk / 1e9:.1f}",
                )
            )
    said = [
        f"The models whose numbers are known together: {total.answers:.1f} hours of answers and "
        f"{total.tuning:.1f} of fine-tuning on the device, {total.linear:.0f} hours of `linear` probes "
        f"with their null "
        f"and {total.published:.0f} of the published readout if both ran on one such core, "
        f"{total.disk / 1e9:.0f} GB of "
        f"results and {weights / 1e9:.0f} GB of released weights.",
        f"More than {device.memory / 1e9:.0f} GB for fine-tuning, so more than one such device: "
        f"{', '.join(large) or 'none'}.",
        "Within a tenth of that, so that it may or may not do, which only a trial tells: "
        f"{', '.join(close) or 'none'}.",
    ]
    if left:
        said.append(
            f"Not in the sum, since their cards state no tokens of an image: {', '.join(left)}; give --pixels."
        )
    return [
        Section(
            title="The paper's grid",
            about=(
                f"{', '.join(TASKS)}, released and tuned with the settings of studies/paper.yaml (rank "
                f"64, 3 epochs that "
                f"are not ended early, micro-batch {MICRO_BATCH}, recompute). Assumed: {device.flops:g} "
                f"operations and "
                f"{device.bandwidth:g} bytes of memory a second, {device.prompt_tokens} tokens of a prompt, "
                + (
                    f"{device.pixels} pixels an image where tokens follow its size, "
                    if device.pixels
                    else "no size of images, "
                )
                + f"free answers of full length in batches of {ANSWERED}. Billions of weights, layers, widths and "
                "tokens "
                "are those of the cards; some of these are marked there as not seen in a source. Sizes of "
                "the tasks are "
                "their published counts, a tenth of train cut off where there is no validation. Hidden "
                "widths and "
                "connectors are estimated from these, embeddings counted as multiplied with. Loading, "
                "reading images, "
                "floors and the blank image are not counted. A batch that does not fit is halved by itself."
            ),
            header=(
                "model",
                "10^9 weights",
                "image tokens",
                "answers, hours",
                "tuning, hours",
                "linear / published probes, core hours",
                "answering, GB",
                "tuning, GB",
                "disk, GB",
            ),
            rows=tuple(rows),
            reading=tuple(said),
        )
    ]
