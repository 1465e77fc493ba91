from __future__ import annotations

from PIL import Image

from harness.passes.prompts import query_of
from tasks.questions import label_question
from tests.harness.small_tasks import make_task


def test_a_query_carries_the_question_and_the_image() -> None:
    task = make_task(("N", "normal"), ("B", "benign"))
    image = Image.new("RGB", (4, 4))
    query = query_of(label_question(task, task.primary), "image-1", image)
    assert (query.id, query.image, query.prompt) == ("image-1", image, "Is it normal or benign?")
    assert query.labels == ("normal", "benign")
