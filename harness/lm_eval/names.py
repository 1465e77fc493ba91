"""The names that tasks have in lm-eval: those of `harness`, with an ending for the way of answering."""

from __future__ import annotations

TAG = "mllm_harness"  # lm-eval's tag of the exported tasks that are answered by label scores
GENERATE = "_generate"  # free answers, read as `harness eval` reads them
EXACT = "_exact"  # free answers that must be a class's wording
