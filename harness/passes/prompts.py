"""Attach a question to an image, as an engine takes it."""

from __future__ import annotations

from PIL import Image

from model_adapters.interface import Query
from tasks.questions import Question


def query_of(question: Question, sample_id: str, image: Image.Image) -> Query:
    """Return the query that asks an image a question."""
    return Query(id=sample_id, image=image, prompt=question.text, labels=question.labels)
