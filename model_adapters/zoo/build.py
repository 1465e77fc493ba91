"""Materialise the built-in models, whose weights come with the package, as ordinary Hugging Face folders."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from model_adapters.interface import ModelError

GROUP = "zoo"
_NOTICE = "NOTICE"


def names() -> tuple[str, ...]:
    """Return the built-in models' names, for example `zoo/llava-healthy`, sorted."""
    return tuple(sorted(f"{GROUP}/{folder.name}" for folder in _folders()))


def build(directory: Path) -> tuple[Path, ...]:
    """Write every built-in model to a folder of its own below `directory`; return those folders.

    A file that is there with other bytes is written anew, other files are left alone.

    Raises:
        ModelError: if a folder cannot be written.
    """
    return tuple(build_one(name, directory) for name in names())


def build_one(name: str, directory: Path) -> Path:
    """Write one built-in model, such as `zoo/llava-healthy`, to `directory/llava-healthy`.

    Raises:
        ModelError: if there is no such model or its folder cannot be written.
    """
    source = _source(name)
    target = directory / source.name
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in (*source.iterdir(), _weights() / _NOTICE):
            if file.is_file():
                _write(target / file.name, file.read_bytes())
    except OSError as error:
        raise ModelError(f"{target}: cannot write the model {name} there ({error.strerror})") from error
    return target


def _source(name: str) -> Traversable:
    for folder in _folders():
        if f"{GROUP}/{folder.name}" == name:
            return folder
    raise ModelError(f"{name}: no such built-in model; there are {', '.join(names())}")


def _write(file: Path, content: bytes) -> None:
    """Write in one step, so that two runs at the same time never see half a file."""
    if file.is_file() and file.read_bytes() == content:
        return
    partial = file.with_name(f".{file.name}.partial")
    partial.write_bytes(content)
    partial.replace(file)


def _weights() -> Traversable:
    return files("model_adapters.zoo") / "weights"


def _folders() -> Iterator[Traversable]:
    for folder in _weights().iterdir():
        if folder.is_dir() and (folder / "config.json").is_file():
            yield folder
