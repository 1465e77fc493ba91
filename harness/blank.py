"""What a model answers when it is shown nothing: the prior of its language over the classes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from harness.data.dataset import DataError, Dataset
from harness.floors import PREDICTED, Floor
from harness.prompts import label_question
from model_adapters.interface import Engine

GREY = 127


def blank_floor(engine: Engine, dataset: Dataset) -> Floor:
    """Ask the primary prompt about a grey picture of the first test image's size.

    Every image gets that one answer, so its accuracy is the share of the class that the model names when it
    sees nothing, and its balanced accuracy is chance: what is of interest is which class, and how sure.

    Raises:
        DataError: the model gave no scores for it.
    """
    question = label_question(dataset.task, dataset.task.primary)
    size = dataset.read(dataset.split("test")[0]).size
    grey = Image.new("RGB", size, (GREY, GREY, GREY))
    answer = engine.score([question.query("blank", grey)]).scores[0]
    if answer.error is not None:
        raise DataError(f"{dataset.task.id}: the model gave no answer to a blank picture ({answer.error})")
    row = np.array(question.by_class(answer.raw))
    row = row - np.logaddexp.reduce(row)
    scores = {name: np.tile(row, (len(dataset.split(name)), 1)) for name in PREDICTED}
    return Floor("blank", f"answer to a grey picture of {size[0]} x {size[1]} pixels", 0, scores)
