"""The scores in a model card's front matter, as the `model-index` that the Hugging Face hub shows.

Only the block `model-index` is written; every other line of the front matter stays as it is, comments too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from harness.exchange.model_card_section import remarks
from leaderboard.record.parts import Interval
from leaderboard.record.record import Record, RecordError

_KEY = "model-index"
_MEASURED_BY = "mllm-harness"
_FRONT = re.compile(r"\A(\ufeff?\s*---[ \t]*\r?\n)(.*?)(^---[ \t]*\r?(?:\n|\Z))", re.DOTALL | re.MULTILINE)


def with_metadata(card: str, records: Sequence[Record]) -> str:
    """Return a card whose front matter has these results; those that this software wrote before are replaced.

    A partial result is not written: the hub would show it as if it were of the whole test set.

    Raises:
        RecordError: the front matter is no YAML mapping, or has a `model-index` of another form.
    """
    found = _FRONT.match(card)
    opening, text, closing = found.groups() if found else ("---\n", "", "---\n")
    rest = card[found.end() :] if found else card
    index = _merged(_known(text), records)
    text = _with_block(text, _dumped(index) if index else "")
    return f"{opening}{text}{closing}{rest}" if text or found else card


def _known(text: str) -> list[dict[str, Any]]:
    """Return the `model-index` that the front matter has."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecordError(
            f"the card's front matter is no valid YAML ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(values, Mapping | None):
        raise RecordError("the card's front matter is no mapping of keys, such as `license: mit`")
    index = (values or {}).get(_KEY) or []
    entries: list[Any] = index if isinstance(index, list) else [None]
    for entry in entries:
        results = entry.get("results") if isinstance(entry, dict) else None
        if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
            raise RecordError(f"the card's `{_KEY}` is no list of models with `results`; mend or remove it")
    return entries


def _merged(known: list[dict[str, Any]], records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return an index with the results of others as they are, and the records' in the place of our former ones."""
    from huggingface_hub.repocard_data import eval_results_to_model_index

    entries = [
        entry | {"results": [kept for result in entry["results"] if (kept := _of_others(result))]}
        for entry in known
    ]
    results = [one for record in records if record.status == "complete" for one in _results(record)]
    if results:
        name = " ".join(records[0].model.name.split())
        own = eval_results_to_model_index(name, results)[0]
        if entries:
            entries[0] = entries[0] | {"results": [*entries[0]["results"], *own["results"]]}
        else:
            entries = [own]
    return [entry for entry in entries if entry["results"]]


def _of_others(result: dict[str, Any]) -> dict[str, Any] | None:
    """Return a result without the metrics that this software wrote, or None where none is left."""
    metrics = result.get("metrics")
    if not isinstance(metrics, list):
        return result
    kept = [metric for metric in metrics if not _is_own(metric)]
    return result | {"metrics": kept} if kept else None


def _is_own(metric: object) -> bool:
    arguments = metric.get("args") if isinstance(metric, dict) else None
    return isinstance(arguments, dict) and str(arguments.get("measured_by", "")).startswith(_MEASURED_BY)


def _results(record: Record) -> list[Any]:
    """Return the record's headline metrics as the hub's library has them."""
    from huggingface_hub import EvalResult

    answers = record.answers
    assert answers is not None
    measured: dict[str, tuple[str, Interval | None]] = {
        "accuracy": ("Accuracy", answers.accuracy),
        "balanced_accuracy": ("Balanced accuracy", answers.balanced_accuracy),
        "f1": ("Macro F1", answers.macro_f1),
        "roc_auc": ("AUROC", answers.auroc),
    }
    return [
        EvalResult(
            task_type="image-classification",
            dataset_type=record.task.name,
            dataset_name=f"{record.task.name} ({', '.join(remarks(record))})"
            if remarks(record)
            else record.task.name,
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=round(value.value, 4),
            metric_args={
                "low": round(value.low, 4),
                "high": round(value.high, 4),
                "images": value.n,
                "measured_by": f"{_MEASURED_BY} {record.provenance.harness_version}",
            },
        )
        for kind, (name, value) in measured.items()
        if value is not None
    ]


def _dumped(index: list[dict[str, Any]]) -> str:
    """Return the index as a block of YAML with no line broken within a value."""
    return yaml.safe_dump({_KEY: index}, sort_keys=False, allow_unicode=True, width=10**6)


def _with_block(text: str, block: str) -> str:
    """Put a block in the place of the key's lines, or after the last key."""
    node = yaml.compose(text)
    lines = text.splitlines(keepends=True)
    if isinstance(node, yaml.MappingNode):
        if node.flow_style:
            raise RecordError("the card's front matter is one `{…}`; write its keys on lines of their own")
        starts = [key.start_mark.line for key, _ in node.value] + [len(lines)]
        for place, (key, _) in enumerate(node.value):
            if key.value == _KEY:
                end = starts[place + 1]
                while end > starts[place] + 1 and re.match(r"\s*(#|$)", lines[end - 1]):
                    end -= 1  # comments above the next key are that key's
                return "".join(lines[: starts[place]]) + block + "".join(lines[end:])
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join(lines) + block
