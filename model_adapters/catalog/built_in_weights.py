"""Materialise the healthy built-in models as ordinary Hugging Face folders. Imports neither torch nor transformers.

Where a model's weights come with the installation they are copied; where they do not (a wheel holds two
of them) the model is trained by what the caller hands over.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from model_adapters.interface import ModelError
from tasks.files import write_atomically

GROUP = "zoo"
NOTICE = "NOTICE"

_FAMILIES: Mapping[str, str] = {
    "zoo/gemma3-healthy": "gemma3",
    "zoo/llava-healthy": "llava",
    "zoo/qwen2.5-vl-healthy": "qwen2.5-vl",
}
_NOT_TRAINED_HERE = {"zoo/llava-healthy"}  # it has seen real images, which nobody has at hand
_RECIPE = ".recipe"  # in the folder of a model that was trained here


@dataclass(frozen=True)
class Trainer:
    """How healthy models come about whose weights are not in the installation.

    `recipe(family)` names all that decides how one comes out; `train(family, directory, checkpoints)`
    writes one, and goes on from what is in `checkpoints`.
    """

    recipe: Callable[[str], str]
    train: Callable[[str, Path, Path], None]


def names() -> tuple[str, ...]:
    """Return the healthy built-in models' names, for example `zoo/llava-healthy`, sorted."""
    return tuple(sorted(_FAMILIES))


def is_there(name: str, directory: Path, trainer: Trainer) -> bool:
    """Return whether `build_one` can do without training."""
    return _stored(name) is not None or _trained_by(directory / _short(name)) == _recipe(name, trainer)


def build_one(name: str, directory: Path, trainer: Trainer | None = None) -> Path:
    """Write one healthy model, such as `zoo/llava-healthy`, to `directory/llava-healthy`.

    A file that is there with other bytes is written anew, other files are left alone. A model that has to
    be trained is trained once, and again only for another recipe.

    Raises:
        ModelError: if there is no such model, if its weights are not in this installation and cannot be
            trained, or if its folder cannot be written.
    """
    if name not in _FAMILIES:
        raise ModelError(f"{name}: no such built-in model; there are {', '.join(names())}")
    source, target = _stored(name), directory / _short(name)
    try:
        if source is not None:
            _copy(source, target)
        elif trainer is None or name in _NOT_TRAINED_HERE:
            raise ModelError(
                f"{name}: its weights are not part of this installation; install the package again"
            )
        elif not is_there(name, directory, trainer):
            _train(name, target, trainer)
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


def _copy(source: Traversable, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.is_file():
            _write(target / file.name, file.read_bytes())
    copy_notice(target)


def _train(name: str, target: Path, trainer: Trainer) -> None:
    recipe, partial = _recipe(name, trainer), fresh_partial(target)
    checkpoints = target.with_name(f".{target.name}.training") / recipe
    trainer.train(_FAMILIES[name], partial, checkpoints)
    copy_notice(partial)
    (partial / _RECIPE).write_text(recipe, encoding="utf-8")
    put_in_place(partial, target)
    shutil.rmtree(checkpoints.parent, ignore_errors=True)


def _recipe(name: str, trainer: Trainer) -> str:
    return trainer.recipe(_FAMILIES[name])


def _trained_by(folder: Path) -> str | None:
    file = folder / _RECIPE
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _write(file: Path, content: bytes) -> None:
    if not (file.is_file() and file.read_bytes() == content):
        write_atomically(file, content)


def _short(name: str) -> str:
    return name.removeprefix(f"{GROUP}/")


def _weights() -> Traversable:
    return files("model_adapters.zoo") / "weights"


def _stored(name: str) -> Traversable | None:
    """Return the folder of a model whose weights come with the installation."""
    folder = _weights() / _short(name)
    return folder if (folder / "config.json").is_file() else None
