"""lm-eval as a neighbour: our tasks for it, our engines as one of its models, our results in its JSON.

`HarnessLM` needs lm-eval (`pip install 'mllm-harness[lm-eval]'`); it is imported when it is asked for, and then
registers itself with lm-eval under the name `harness`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import shadowed

if TYPE_CHECKING:
    from harness.lm_eval.model import HarnessLM

if (_problem := shadowed()) is not None:
    raise ImportError(_problem)

__all__ = ["HarnessLM"]


def __getattr__(name: str) -> Any:
    if name == "HarnessLM":
        from harness.lm_eval.model import HarnessLM

        return HarnessLM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
