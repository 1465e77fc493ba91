"""lm-eval's own command line with our engines among its models: `python -m harness.lm_eval run --model harness`."""

from __future__ import annotations

from harness.lm_eval import model as _registers_itself  # noqa: F401

if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
