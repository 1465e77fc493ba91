"""Copy the healthy built-in models into ordinary Hugging Face folders. Imports neither torch nor transformers."""

from __future__ import annotations

import shutil
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from model_adapters.interface import ModelError
from tasks.files import write_atomically

GROUP = "zoo"
NOTICE = "NOTICE"

_NAMES = ("zoo/gemma3-healthy", "zoo/llava-healthy", "zoo/qwen2.5-vl-healthy")


def names() -> tuple[str, ...]:
    """Return the healthy built-in models' names, for example `zoo/llava-healthy`, sorted."""
    return _NAMES


def build_one(name: str, directory: Path) -> Path:
    """Write one healthy model, such as `zoo/llava-healthy`, to `directory/llava-healthy`.

    A file that is there with other bytes is written anew, other files are left alone.

    Raises:
        ModelError: if there is no such model, if its weights are missing from this installation, or if its
            folder cannot be written.
    """
    if name not in _NAMES:
        raise ModelError(f"{name}: no such built-in model; there are {', '.join(_NAMES)}")
    short = name.removeprefix(f"{GROUP}/")
    source, target = _weights() / short, directory / short
    if not (source / "config.json").is_file():
        raise ModelError(f"{name}: its weights are missing from this installation; install the package again")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            if file.is_file():
                _write(target / file.name, file.read_bytes())
        copy_notice(target)
    except OSError as error:
        raise ModelError(
            f"{target}: cannot write the model {name} there ({error.strerror or error})"
        ) from error
    return target


def put_in_place(partial: Path, target: Path) -> None:
    """Let a finished folder take the place of an older one, so that no half-written folder is ever seen."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.replace(old)
    partial.replace(target)
    shutil.rmtree(old, ignore_errors=True)


def fresh_partial(target: Path) -> Path:
    """Return the name of a folder beside `target` to write into; what a killed run left there is removed."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    return partial


def copy_notice(directory: Path) -> None:
    """Write the notice on what the weights were trained on to a model's folder."""
    _write(directory / NOTICE, (_weights() / NOTICE).read_bytes())


def _write(file: Path, content: bytes) -> None:
    if not (file.is_file() and file.read_bytes() == content):
        write_atomically(file, content)


def _weights() -> Traversable:
    return files("model_adapters.zoo") / "weights"
