"""A small, complete and valid result on a task of a board's own, made up, and the board that takes it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leaderboard.board.folder import BoardFolder, add_task, init_board, open_board
from leaderboard.board.image_list import ImageList, ListedSample
from leaderboard.record.checks import ProjectionPart, SimilarityPart
from leaderboard.record.record import Headline, PermutationPart, Record, dump_record
from leaderboard.record.samples import ANSWER_TARGET, Asked, ProbeLine, SampleLine, dump_lines
from leaderboard.scoring.floors import DeclaredFloors
from leaderboard.scoring.reading import outcome, read_class, wordings_of
from leaderboard.scoring.score import SCORING_VERSION, Declared, Lines, score
from tasks.questions import letters_prompt, shuffled_letters_question, variant_questions
from tasks.sources import SPLITS
from tasks.spec import TaskSpec, task_hash
from tests.harness.small_tasks import make_task
from tests.leaderboard.lines import CLASSES, MadeUp, made_up
from tests.leaderboard.results import record

SIZES = {"train": 36, "val": 24, "test": 60}
PER_GROUP = 2
WORDS = ("normal", "cyst", "benign", "malignant")
FINISHED = "2026-01-02T10:00:00+00:00"


def small_task(name: str = "lumps") -> TaskSpec:
    """Return a task of 4 classes, 3 label prompts and one of letters."""
    return make_task(*((word, word) for word in WORDS)).model_copy(update={"id": name})


def image_list(made: MadeUp, *, official: bool = True, task: str = "lumps") -> ImageList:
    """Return the list that a run's lines are about."""
    images = (ListedSample(s.split, s.id, s.label, s.group, s.pixel_hash) for s in made.samples)
    return ImageList(task, 1, official, tuple(images))


def made_run(seed: int = 0, *, images: int = 0, headline: Headline = "scores", **accuracies: float) -> MadeUp:
    """Draw the lines of a whole run: texts, every option order, probes of all layers, floors, and letters.

    `images` decides about labels and pixels, so that two models can be asked about the same ones.
    """
    drawn = made_up(seed, sizes=SIZES, per_group=PER_GROUP, **accuracies)
    shown = made_up(images, sizes=SIZES, per_group=PER_GROUP)
    moved = [_on_image(one, other, headline) for one, other in zip(drawn.samples, shown.samples, strict=True)]
    labels = {name: np.array([s.label for s in moved if s.split == name]) for name in SPLITS}
    was = {name: np.array([s.label for s in drawn.samples if s.split == name]) for name in SPLITS}
    lines = [_shifted(line, (labels[line.split] - was[line.split]) % CLASSES) for line in drawn.lines]
    layers = [line for line in lines if line.readout == "linear"]
    floors = [line for line in lines if line.readout == "floor"]
    majority = [_constant(line, labels["train"]) for line in floors if line.site == "pixels"]
    early = [line for place in ("image_mean", "last_token") for line in _early_layers(layers, place, seed)]
    letters = [_letters(line, moved, seed) for line in (*early, *layers) if line.pool == "last"]
    return MadeUp(tuple(moved), (*layers, *early, *letters, *floors, *majority))


def made_record(
    made: MadeUp,
    *,
    name: str = "clinic/model",
    task_name: str = "lumps",
    headline: Headline = "scores",
    **changes: Any,
) -> Record:
    """Return the record of these lines, computed as a run computes it."""
    task, images = small_task(task_name), image_list(made)
    places = [(s.site, s.pool) for s in made.lines if (s.readout, s.split) == ("linear", "test")]
    permutation = PermutationPart(
        draws=200, highest=0.4, vision_p=0.005, bands={f"{s}.{p}": (0.2, 0.25, 0.3) for s, p in places}
    )
    plain = record(len(made.test())).model_dump()
    similar = SimilarityPart(
        sites=("vision.01.mean", "connector.00.mean"),
        images=60,
        cka=0.8,
        cka_debiased=0.79,
        knn_overlap=0.6,
        knn_chance=0.1,
        neighbours=10,
        connector_inert=None,
        inert_margin=0.03,
    )
    tested = {("linear", *place): 0.005 for place in places}
    declared = Declared(task, headline, 0, permutation, tested, _declared_floors(), similar)
    content = {
        **plain,
        "model": {**plain["model"], "name": name, "hub_id": name, "family": "llava"},
        "task": {
            **plain["task"],
            "name": task.id,
            "classes": WORDS,
            "dataset_fingerprint": images.fingerprint,
            "official_data": True,
            **{f"n_{split}": count for split, count in SIZES.items()},
        },
        **vars(score(Lines(made.samples, made.lines), declared)),
        "permutation": permutation,
        "projection": ProjectionPart(
            dimension=512, seed=0, balanced_accuracies={"x": 0.5}, largest_difference=0.0, largest_at="x"
        ),
        "configuration": {
            "task": {"id": task.id, "hash": task_hash(task)},
            "options": {"seed": 0, "limit": None, "max_train": None},
            "judgement": {"scoring_version": SCORING_VERSION},
        },
        "provenance": {**plain["provenance"], "started": FINISHED, "finished": FINISHED},
        **changes,
    }
    return Record.model_validate(content)


def write_result(folder: Path, record: Record, made: MadeUp) -> Path:
    """Write a result folder, as a run does."""
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(dump_record(record), encoding="utf-8")
    (folder / "samples.jsonl").write_text(dump_lines(made.samples), encoding="utf-8")
    (folder / "probes.jsonl").write_text(dump_lines(made.lines), encoding="utf-8")
    return folder


def made_result(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Write a valid result: that of `made_run(seed)` about the images of seed 0."""
    made = made_run(seed)
    return write_result(folder, made_record(made, **changes), made)


def made_board(
    path: Path, *, official: bool = True, official_list: bool = True, tasks: Sequence[str] = ("lumps",)
) -> BoardFolder:
    """Begin a board that has tasks of these names, each about the images of `made_run(images=0)`."""
    board = init_board(path, title="A board", official=official)
    for name in tasks:
        add_task(board, small_task(name), image_list(made_run(), official=official_list, task=name))
    return open_board(path)


def _declared_floors() -> DeclaredFloors:
    return DeclaredFloors(
        key="k",
        details={"reference": "two small networks", "pixels": "components", "majority": "the commonest"},
        permutation_p={"reference": 0.001, "pixels": 0.005, "majority": None},
        blank=(-1.0, -2.0, -3.0, -4.0),
        blank_detail="a grey picture",
    )


def _on_image(line: SampleLine, image: SampleLine, headline: Headline) -> SampleLine:
    """Return what was answered, about an image of its own pixels; test images are asked in every way."""
    shift = image.label - line.label
    scores = tuple(np.roll(line.scores, shift).round(6).tolist()) if line.scores else None
    best = int(np.argmax(scores)) if scores else None
    moved = {
        "label": image.label,
        "pixel_hash": hashlib.sha256(image.id.encode()).hexdigest(),
        "scores": scores,
        "scores_normalised": scores,
        "predicted": best,
        "outcome": outcome(best, image.label, None),
    }
    if line.split == "test":
        moved |= _written(line.id, best, image.label) | {"orders": _orders(line.id, scores)}
        if headline == "generated":
            moved |= {"predicted": moved["read"], "outcome": moved["generated_outcome"]}
    return line.model_copy(update=moved)


def _written(sample_id: str, best: int | None, label: int) -> dict[str, Any]:
    unread = int(sample_id[-2:]) % 10 == 3
    text = "I cannot tell." if unread or best is None else f"It is {WORDS[best]}."
    read = read_class(text, wordings_of(small_task()))
    return {"text": text, "read": read, "generated_outcome": outcome(read, label, None)}


def _orders(sample_id: str, scores: Sequence[float] | None) -> tuple[Asked, ...]:
    """Ask every other way; the second option is the answer to letters now and then."""
    found = []
    for one in variant_questions(small_task(), sample_id):
        away = one.order[1] if one.prompt_id == "letters" and one.order[0] == 2 else 0
        shifted = tuple(np.roll(scores, away).tolist()) if scores else None
        predicted = int(np.argmax(shifted)) if shifted else None
        found.append(Asked(prompt=one.prompt_id, order=one.order, scores=shifted, predicted=predicted))
    return tuple(found)


def _with_scores(line: ProbeLine, predictions: np.ndarray, **changes: Any) -> ProbeLine:
    """Return a line of these predictions, with log-probabilities of four decimals that lead to them."""
    rng = np.random.default_rng(len(line.site) + line.layer + len(predictions))
    wanted = np.where(np.eye(CLASSES)[predictions] > 0, rng.uniform(2.0, 4.0, (len(predictions), 1)), 0.0)
    wanted = wanted + rng.uniform(0.0, 1.0, wanted.shape)
    scores = np.round(wanted - np.log(np.exp(wanted).sum(axis=1, keepdims=True)), 4)
    update = {"predictions": tuple(predictions.tolist()), "scores": tuple(map(tuple, scores.tolist()))}
    return line.model_copy(update={**update, **changes})


def _shifted(line: ProbeLine, shift: np.ndarray) -> ProbeLine:
    width = 0 if line.readout == "floor" else 8
    layer = 0 if line.readout == "floor" else line.layer
    return _with_scores(line, (np.array(line.predictions) + shift) % CLASSES, width=width, layer=layer)


def _constant(line: ProbeLine, train: np.ndarray) -> ProbeLine:
    """Return the floor that gives every image the classes' shares of the training images."""
    counts = np.bincount(train, minlength=CLASSES) + 1
    shares = np.log(counts / counts.sum()).round(4).tolist()
    images = len(line.predictions)
    return line.model_copy(
        update={
            "site": "majority",
            "predictions": (int(np.argmax(shares)),) * images,
            "scores": (tuple(shares),) * images,
        }
    )


def _early_layers(lines: Sequence[ProbeLine], place: str, seed: int) -> list[ProbeLine]:
    """Return decoder layers before the last, which read worse the earlier they are."""
    pool = {"image_mean": "mean", "last_token": "last"}[place]
    found = []
    for layer in (0, 1):
        for line in lines:
            if (line.module, line.pool) == ("llm", pool):
                rng = np.random.default_rng([seed, layer, len(line.predictions)])
                lost = rng.random(len(line.predictions)) < 0.3 - 0.15 * layer
                changed = (np.array(line.predictions) + lost) % CLASSES
                found.append(_with_scores(line, changed, layer=layer, site=f"llm.{layer:02d}"))
    return found


def _letters(line: ProbeLine, samples: Sequence[SampleLine], seed: int) -> ProbeLine:
    """Return the probe for the right option's letter; the tenth image could not be shown."""
    asked = [s for s in samples if s.split == line.split]
    task = small_task()
    prompt = letters_prompt(task)
    assert prompt is not None
    right = np.array([shuffled_letters_question(task, prompt, s.id).order.index(s.label) for s in asked])
    rng = np.random.default_rng([seed, line.layer])
    said = np.where(rng.random(len(right)) < 0.7, right, (right + 1) % CLASSES)
    known = np.arange(len(right)) != 9
    full = _with_scores(line, said, readout=ANSWER_TARGET)
    return full.model_copy(
        update={
            "predictions": tuple(np.where(known, said, -1).tolist()),
            "scores": tuple(map(tuple, np.where(known[:, None], full.scores, 0.0).tolist())),
            "targets": tuple(right.tolist()),
        }
    )
