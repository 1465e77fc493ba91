from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# The real command line with further commands that fail in the ways a command can.
WITH_FAILING_COMMANDS = """
import sys, time, types
import click
import harness.cli as command_line
from harness.passes.store import StoreError

failing = types.ModuleType("failing")

@click.command()
def wait():
    print("ready", flush=True)
    time.sleep(60)

@click.command()
def chatter():
    for _ in range(100_000):
        click.echo("words, words, words")

@click.command()
def store():
    raise StoreError("results/m/t: is in use")

@click.command()
def bug():
    raise RuntimeError("two\\nlines")

@click.command()
def file():
    open("/no/such/file")

for command in (wait, chatter, store, bug, file):
    setattr(failing, command.name, command)
    command_line._COMMANDS[command.name] = ("failing:" + command.name, "Fail.")
sys.modules["failing"] = failing
command_line.main()
"""


def run(*arguments: str, program: str | None = None) -> subprocess.CompletedProcess[str]:
    start = ["-m", "harness"] if program is None else ["-c", program]
    return subprocess.run(
        [sys.executable, *start, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )


def fail(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run(*arguments, program=WITH_FAILING_COMMANDS)


def test_help_lists_every_command() -> None:
    said = run("--help")
    assert said.returncode == 0
    assert said.stderr == ""
    for command in ("eval", "tasks", "models", "report", "zoo"):
        assert f"\n  {command} " in said.stdout
    assert run("-h").stdout == said.stdout


def test_help_imports_nothing_heavy() -> None:
    program = """
import atexit, sys
atexit.register(lambda: print("IMPORTED", *sys.modules))
from harness.cli import main
main(["--help"])
"""
    imported = set(run(program=program).stdout.split("IMPORTED")[1].split())
    assert "click" in imported
    heavy = {"torch", "transformers", "rich", "numpy", "scipy", "sklearn", "pydantic", "PIL"}
    assert not imported & heavy


def test_help_comes_at_once() -> None:
    def seconds() -> float:
        started = time.perf_counter()
        run("--help")
        return time.perf_counter() - started

    assert min(seconds() for _ in range(3)) < 1.0


def test_without_a_command_the_help_is_shown_and_the_usage_is_wrong() -> None:
    said = run()
    assert said.returncode == 2
    assert said.stderr.startswith("Usage: harness")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evl"], "harness: no command 'evl'; did you mean `eval`? (see harness --help)\n"),
        (["xyzzy"], "harness: no command 'xyzzy'; there are eval, tasks, "),
        (["--bogus"], "harness: No such option '--bogus'. (see harness --help)\n"),
        (["tasks", "--bogus"], "(see harness tasks --help)\n"),
        (["eval", "--tasks", "phantom", "--models", ""], "'--models': names nothing"),
        (["eval", "--tasks", ",", "--models", "zoo"], "'--tasks': names nothing"),
        (["eval", "--tasks", "phantom", "--models", "zoo", "--device", "gpu"], "'gpu' is no device"),
        (["models", "check", "zoo/llava-healthy", "--device", "cuda:x"], "'cuda:x' is no device"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments: list[str], message: str) -> None:
    said = run(*arguments)
    assert said.returncode == 2
    assert message in said.stderr
    assert said.stderr.count("\n") == 1
    assert said.stdout == ""


def test_a_known_error_is_one_line_and_exit_1() -> None:
    said = fail("store")
    assert (said.returncode, said.stderr) == (1, "harness: results/m/t: is in use\n")


def test_a_bug_is_one_line_that_says_so() -> None:
    said = fail("bug")
    assert said.returncode == 1
    assert said.stderr.startswith("harness: unexpected RuntimeError: two lines (this is a bug; --debug ")
    assert said.stderr.count("\n") == 1


def test_a_file_that_cannot_be_opened_is_no_bug() -> None:
    said = fail("file")
    assert said.returncode == 1
    assert said.stderr.startswith("harness: /no/such/file: No such file or directory")
    assert "this is a bug" not in said.stderr


@pytest.mark.parametrize("command", ["store", "bug", "file"])
@pytest.mark.parametrize("before", [True, False])
def test_debug_shows_the_traceback_wherever_it_stands(command: str, before: bool) -> None:
    said = fail(*(["--debug", command] if before else [command, "--debug"]))
    assert said.returncode == 1
    assert "Traceback (most recent call last)" in said.stderr


def test_an_interrupt_is_one_line_and_exit_130() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_FAILING_COMMANDS, "wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        # A shell's background job is told to ignore interrupts, and so would this process be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.strip() == "harness: interrupted; start the same command again to go on"


def test_a_reader_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_FAILING_COMMANDS, "chatter"],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    os.close(writing)
    os.read(reading, 100)
    os.close(reading)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, b"")
