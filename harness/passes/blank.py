"""What a model answers when it is shown nothing: the prior of its language over the classes."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from harness.data.dataset import Dataset
from harness.passes.ask import scored
from harness.passes.prompts import query_of
from harness.passes.store import RunStore
from model_adapters.interface import Engine
from tasks.questions import label_question

BLANK = "blank"  # the step in the run store
GREY = 127


@dataclass(frozen=True)
class BlankAnswer:
    """The label scores of a grey picture in the order of the classes; None where there are none.

    `detail` says what was shown, or why there are no scores.
    """

    scores: tuple[float, ...] | None
    detail: str


def ask_blank(store: RunStore, engine: Engine, dataset: Dataset) -> BlankAnswer:
    """Ask the primary prompt about a grey picture of the first test image's size, once a run.

    Every image would get that one answer, so its accuracy is the share of the class that the model names
    when it sees nothing, and its balanced accuracy is chance: what is of interest is which class, and how
    sure.
    """
    size = dataset.read(dataset.split("test")[0]).size
    question = label_question(dataset.task, dataset.task.primary)
    for number, _ in store.pending(BLANK, 1):
        grey = Image.new("RGB", size, (GREY, GREY, GREY))
        found = engine.score([query_of(question, "blank", grey)]).scores[0]
        store.append(BLANK, number, [scored(question, found)])
    (answer,) = store.answers(BLANK, 1)
    if answer["error"] is not None:
        return BlankAnswer(None, f"the model gave no answer to a grey picture ({answer['error']})")
    return BlankAnswer(tuple(answer["scores"]), f"a grey picture of {size[0]} x {size[1]} pixels")
