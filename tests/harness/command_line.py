"""The command line as a user starts it, save that libraries which take seconds to import are imported once.

A process imports them and waits; each command is run by a fork of it, and imports what is this project's itself.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

LIBRARIES = (
    "accelerate",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.linear_model",
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llava.modeling_llava",
)
# What may differ from one command to the next: it is read when a command runs, not when Python or a library starts.
LATE = ("HARNESS_", "PYTEST_", "TORCHINDUCTOR_")

_one_at_a_time = Lock()


@dataclass(frozen=True)
class _Waiting:
    process: subprocess.Popen[str]
    started: dict[str, str]  # under these variables


def run(
    arguments: tuple[str, ...],
    folder: Path,
    environment: dict[str, str],
    timeout: float,
    *,
    alone: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder and return its exit status and what it said.

    It gets a process from scratch where it is to be `alone`, or where a variable differs that Python or a library
    reads when it starts.
    """
    waiting = None if alone or sys.platform != "linux" else _waiting()
    if waiting is None or _startup(environment) != waiting.started:
        command = [sys.executable, "-m", "harness", *arguments]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
    with _one_at_a_time, TemporaryDirectory() as place:
        said = [str(Path(place) / name) for name in ("stdout", "stderr")]
        asked = {"arguments": arguments, "folder": str(folder), "environment": environment, "said": said}
        print(json.dumps({**asked, "seconds": int(timeout)}), file=waiting.process.stdin, flush=True)
        status = int(waiting.process.stdout.readline())
        if status == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(["harness", *arguments], timeout)
        texts = [Path(file).read_text(encoding="utf-8") for file in said]
    return subprocess.CompletedProcess(["harness", *arguments], status, *texts)


def _startup(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that count when a process starts."""
    return {name: value for name, value in environment.items() if not name.startswith(LATE)}


@cache
def _waiting() -> _Waiting:
    """Return the process that waits for commands; it ends with this one."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "tests.harness.command_line"]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=pipe, stdout=pipe, text=True)
    return _Waiting(process, _startup(os.environ))


def _wait_for_commands() -> None:
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    for line in sys.stdin:
        if os.fork() == 0:
            _become(**json.loads(line))
        print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)


def _become(
    arguments: list[str], folder: str, environment: dict[str, str], said: list[str], seconds: int
) -> None:
    signal.alarm(seconds)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, name in enumerate((os.devnull, *said)):
        with open(name, "r" if number == 0 else "w") as file:
            os.dup2(file.fileno(), number)
    from harness.cli import main

    sys.argv = [str(Path(sys.modules["harness"].__file__ or "").parent / "__main__.py"), *arguments]
    status = 1
    try:
        main()
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 0
    except BaseException:  # noqa: BLE001 - Python itself says so and ends with 1
        traceback.print_exc()
    finally:
        # As Python ends, save that it would take every library apart, object by object.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _wait_for_commands()
