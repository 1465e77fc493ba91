"""Export a task for lm-eval: its test images as Parquet, and YAMLs for label scores and for free answers."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness import __version__
from harness.data.dataset import DataError, Dataset
from harness.data.progress import Step, silent
from harness.lm_eval.names import EXACT, GENERATE, TAG
from harness.lm_eval.parquet import write_parquet
from tasks.files import write_atomically
from tasks.questions import label_question
from tasks.spec import TaskSpec

READER = "harness.lm_eval.reading.read_answer"
_HEAD = "# Written by `harness tasks export`. It names its images by an absolute path: export again after moving.\n"
_PRIVATE = (
    "the licence of these images forbids passing them on: the Parquet file is for this machine, and so is a "
    "log of samples that holds them"
)


def export_task(dataset: Dataset, folder: Path, progress: Step = silent) -> tuple[Path, ...]:
    """Write a task's test images and its three YAMLs into a folder; return the files.

    `<task>.yaml` scores the class wordings (`multiple_choice`). `<task>_generate.yaml` lets the model write and
    reads the answer as `harness eval` does, which needs this package where lm-eval runs. `<task>_exact.yaml` needs
    lm-eval alone: an answer is right where it is the class's wording and nothing else but white space,
    capitals and punctuation.

    Raises:
        DataError: the prompt holds lm-eval's placeholder of an image, an image cannot be read, or the libraries
            that write Parquet are missing.
    """
    task = dataset.task
    if "<image>" in label_question(task, task.primary).text:
        raise DataError(f"{task.id}: its prompt holds `<image>`, which lm-eval takes for the picture itself")
    folder.mkdir(parents=True, exist_ok=True)
    parquet = folder / f"{task.id}.parquet"
    images = write_parquet(dataset, parquet, progress)
    common = _common(dataset, parquet, images)
    written = [parquet]
    for name, (content, ending) in _variants(task, common).items():
        path = folder / f"{name}.yaml"
        text = yaml.safe_dump({"task": name, **content}, sort_keys=False, allow_unicode=True, width=100)
        write_atomically(path, f"{_HEAD}{text}{ending}")
        written.append(path)
    return tuple(written)


def _variants(task: TaskSpec, common: Mapping[str, Any]) -> dict[str, tuple[dict[str, Any], str]]:
    """Return each YAML's content by its name, with what is to be written below it."""
    accuracy = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
    scored = {"tag": TAG, **common, "output_type": "multiple_choice", "metric_list": accuracy}
    scored |= {"doc_to_choice": "choices", "doc_to_target": "label"}
    # `until` is empty: an answer ends where the model ends it, or at the limit of tokens.
    written = {
        "tag": f"{TAG}{GENERATE}",
        **common,
        "output_type": "generate_until",
        "doc_to_target": "answer",
        "generation_kwargs": {"until": [], "max_gen_toks": task.max_new_tokens, "do_sample": False},
    }
    unread = {"metric": "no_answer", "aggregation": "mean", "higher_is_better": False}
    read = {**written, "metric_list": [*accuracy, unread]}
    exact = {
        **written,
        "tag": f"{TAG}{EXACT}",
        "filter_list": [
            {"name": "stripped", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}
        ],
        "metric_list": [
            {
                "metric": "exact_match",
                "aggregation": "mean",
                "higher_is_better": True,
                "ignore_case": True,
                "ignore_punctuation": True,
            }
        ],
    }
    return {
        task.id: (scored, ""),
        f"{task.id}{GENERATE}": (read, f"process_results: !function {READER}\n"),
        f"{task.id}{EXACT}": (exact, ""),
    }


def _common(dataset: Dataset, parquet: Path, images: int) -> dict[str, Any]:
    task = dataset.task
    metadata: dict[str, Any] = {
        "version": task.version,
        "title": task.title,
        "licence": task.licence,
        "citation": task.citation,
        "dataset_fingerprint": dataset.fingerprint,
        "official_data": dataset.official,
        "images": images,
        "exported_by": f"mllm-harness {__version__}",
    }
    if dataset.report.test_before_limit is not None:
        metadata["limited_from"] = dataset.report.test_before_limit
    if not task.redistribute_pixels:
        metadata["redistribute_pixels"] = False
        metadata["note"] = _PRIVATE
    return {
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": glob.escape(str(parquet.resolve()))}},
        "test_split": "test",
        "num_fewshot": 0,
        "doc_to_text": "question",
        "doc_to_image": ["image"],
        "metadata": metadata,
    }
