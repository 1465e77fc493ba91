"""A real vLLM: in this process, and as a server of its own. Run by `make test-vllm` alone.

The environment is set before vLLM is imported, which reads it then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ENVIRONMENT = {
    "VLLM_CPU_CI_ENV": "1",  # no warm-up
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # or two test processes would share one core
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process: quicker to start
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
SECONDS_TO_START = 600  # a hanging server ends here; a first start on a busy machine takes minutes
SERVED = "qwen2_5_vl"

if find_spec("vllm") is not None:  # else these tests are skipped
    os.environ.update(ENVIRONMENT)


@dataclass(frozen=True)
class Server:
    """A running `vllm serve`: `base_url` up to and with /v1, the model's name there, and its folder."""

    base_url: str
    model: str
    folder: Path


@pytest.fixture(scope="session")
def vllm_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a tiny model as vLLM loads it, building it when it is first asked for."""
    from tests.vllm.tiny_for_vllm import build

    root = tmp_path_factory.mktemp("vllm")
    return cache(lambda name: build(name, root / name))


@pytest.fixture(scope="session")
def vllm_server(
    vllm_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serve a tiny Qwen2.5-VL on loopback by the OpenAI-compatible server, in a process of its own."""
    folder, log = vllm_folder(SERVED), tmp_path_factory.mktemp("server") / "log.txt"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What `vllm serve` runs; that command itself looks for a package named vllm and finds vllm-cpu.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", SERVED]
    command += [
        "--enforce-eager",
        "--dtype",
        "float32",
        "--max-model-len",
        "512",
        "--generation-config",
        "vllm",
    ]
    command += ["--limit-mm-per-prompt", '{"image": 1, "video": 0}', "--gpu-memory-utilization", "0.05"]
    environment = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        _wait_until_healthy(process, f"http://127.0.0.1:{port}/health", log)
        yield Server(f"http://127.0.0.1:{port}/v1", SERVED, folder)
    finally:
        _end(process)


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    last = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < last:
        if process.poll() is not None:
            pytest.fail(f"vllm serve ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"vllm serve was not ready after {SECONDS_TO_START} s:\n{log.read_text()[-3000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and the processes that it started: they are a group of their own."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
