"""Write a task's test images as one Parquet file that the library `datasets` reads back pixel by pixel."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.data.dataset import DataError, Dataset, Sample
from harness.data.progress import Step, silent
from harness.lm_eval.requests import PLACEHOLDER
from tasks.files import replacing
from tasks.questions import label_question

_ROWS_AT_ONCE = 64


def write_parquet(dataset: Dataset, path: Path, progress: Step = silent) -> int:
    """Write the test images and what they are asked, one row an image; return how many.

    The columns: `id` and `pixel_hash` as in `samples.jsonl`; `image`, the picture that a model sees, as PNG;
    `question`, the primary prompt after lm-eval's placeholder of the image; `choices`, the wordings in the order
    of the classes; `label`, the right one's index; `answer`, the right wording; `wordings`, of each class its name,
    wording and aliases.

    Raises:
        DataError: the libraries that write Parquet are not installed, or an image cannot be read.
    """
    try:
        import pyarrow
        from datasets import Features, Image, List, Value
        from pyarrow.parquet import ParquetWriter
    except ModuleNotFoundError as error:
        raise DataError(f"{error.name} is not installed: pip install 'mllm-harness[lm-eval]'") from error
    text = Value("string")
    features = Features(
        {
            "id": text,
            "pixel_hash": text,
            "image": Image(),
            "question": text,
            "choices": List(text),
            "label": Value("int64"),
            "answer": text,
            "wordings": List(List(text)),
        }
    )
    samples = dataset.split("test")
    with (
        progress(f"{dataset.task.id} for lm-eval", len(samples)) as advance,
        replacing(path) as part,
        ParquetWriter(part, features.arrow_schema) as writer,
    ):
        for start in range(0, len(samples), _ROWS_AT_ONCE):
            rows = list(_rows(dataset, samples[start : start + _ROWS_AT_ONCE]))
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=features.arrow_schema))
            advance(len(rows))
    return len(samples)


def _rows(dataset: Dataset, samples: tuple[Sample, ...]) -> Iterator[dict[str, Any]]:
    task = dataset.task
    question = label_question(task, task.primary)
    wordings = [[c.name, c.wording, *c.aliases] for c in task.classes]
    for sample in samples:
        png = io.BytesIO()
        dataset.read(sample).save(png, format="PNG")
        yield {
            "id": sample.id,
            "pixel_hash": sample.pixel_hash,
            "image": {"bytes": png.getvalue(), "path": None},
            "question": f"{PLACEHOLDER}{question.text}",
            "choices": list(question.labels),
            "label": sample.label,
            "answer": question.labels[sample.label],
            "wordings": wordings,
        }
