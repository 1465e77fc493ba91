"""The published JSON Schemas of what a result and an entry hold, made from the types that read them."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path

from pydantic import BaseModel

from leaderboard.entry import Entry
from leaderboard.record import Record
from leaderboard.samples import ProbeLine, SampleLine

_KINDS: dict[str, type[BaseModel]] = {
    "record": Record,  # record.json
    "sample": SampleLine,  # a line of samples.jsonl
    "probe": ProbeLine,  # a line of probes.jsonl
    "entry": Entry,  # entry.json
}
KINDS = tuple(_KINDS)
FOLDER = Path(str(importlib.resources.files("leaderboard"))) / "schemas"


def schema_text(kind: str) -> str:
    """Return a schema as JSON text (draft 2020-12).

    Args:
        kind: one of `KINDS`.
    """
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_KINDS[kind].model_json_schema(mode="validation"),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
