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
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

LIBRARIES = (
    "accelerate",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.linear_model",
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llava.modeling_llava",
)
# What a test may change from one command to the next: it is read when a command runs, not when Python starts.
LATE = ("HARNESS_", "PYTEST_")

_one_at_a_time = Lock()


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
    started = _startup(os.environ)
    if alone or sys.platform != "linux" or _startup(environment) != started:
        command = [sys.executable, "-m", "harness", *arguments]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
    with _one_at_a_time, TemporaryDirectory() as place:
        said = [str(Path(place) / name) for name in ("stdout", "stderr")]
        asked = {"arguments": arguments, "folder": str(folder), "environment": environment, "said": said}
        waiting = _waiting(started)
        print(json.dumps({**asked, "seconds": int(timeout)}), file=waiting.stdin, flush=True)
        status = int(waiting.stdout.readline())
        texts = [Path(file).read_text(encoding="utf-8") for file in said]
    return subprocess.CompletedProcess(["harness", *arguments], status, *texts)


def _startup(environment: Any) -> frozenset[tuple[str, str]]:
    return frozenset(item for item in environment.items() if not item[0].startswith(LATE))


@cache
def _waiting(environment: frozenset[tuple[str, str]]) -> subprocess.Popen[str]:
    """Return the process that waits for commands under these variables; it ends with this one."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "tests.harness.command_line"]
    return subprocess.Popen(
        command, cwd=Path(__file__).parents[2], env=dict(environment), stdin=pipe, stdout=pipe, text=True
    )


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
