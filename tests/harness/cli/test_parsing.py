"""What the command line makes of what was typed."""

from __future__ import annotations

import sys

import pytest

from harness.cli.parsing import command_line


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("--data-dir /home/me/data", "--data-dir .../data"),
        ("--data-dir=/home/me/data", "--data-dir=.../data"),
        ("--tasks busi,/home/me/secret/task.yaml", "--tasks busi,.../task.yaml"),
        ("--models ~/models/mine", "--models .../mine"),
        (r"--output C:\Users\me\out", "--output .../out"),
        ("--model-args base_url=http://localhost:8000/v1", "--model-args base_url=http://localhost:8000/v1"),
        ("--models zoo/llava-healthy --output results/a", "--models zoo/llava-healthy --output results/a"),
    ],
)
def test_a_record_tells_the_command_without_the_folders_above_what_was_named(
    typed: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/harness", "eval", *typed.split(" ")])
    assert command_line() == f"harness eval {told}"
