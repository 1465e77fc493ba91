"""The published JSON Schemas of what a result and an entry hold, made from the types that read them."""

from __future__ import annotations

import importlib
import importlib.resources
import json
from pathlib import Path

# Named by path, so that the command line can list them without importing any.
_KINDS = {
    "record": "leaderboard.record.record:Record",  # record.json
    "sample": "leaderboard.record.samples:SampleLine",  # a line of samples.jsonl
    "probe": "leaderboard.record.samples:ProbeLine",  # a line of probes.jsonl
    "entry": "leaderboard.board.entry:Entry",  # entry.json
}
KINDS = tuple(_KINDS)
FOLDER = Path(str(importlib.resources.files("leaderboard"))) / "schemas"


def schema_text(kind: str) -> str:
    """Return a schema as JSON text (draft 2020-12).

    Args:
        kind: one of `KINDS`.
    """
    module, name = _KINDS[kind].split(":")
    model = getattr(importlib.import_module(module), name)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(mode="validation"),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
