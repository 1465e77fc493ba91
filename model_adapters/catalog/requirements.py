"""Code that a model brings along: whether it may run, and the versions of other packages that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement
from packaging.version import Version

from model_adapters.catalog.card import ModelCard
from model_adapters.interface import ModelError


def missing_requirements(card: ModelCard) -> tuple[str, ...]:
    """Return a sentence for each of the card's `requires` that is not met, such as
    "needs transformers>=4.51,<5, 5.23.0 is installed"; nothing is imported to find out.

    A requirement whose marker is not about this Python or machine counts as met.
    """
    sentences = []
    for requirement, found in _unmet(card):
        state = f"{found} is installed" if found else "which is not installed"
        sentences.append(f"needs {_shown(requirement)}, {state}")
    return tuple(sentences)


def refuse_unmet(card: ModelCard) -> None:
    """Refuse a model whose card names versions that are not installed.

    Raises:
        ModelError: naming them, the card's key, and the command that makes a suitable environment.
    """
    if missing := missing_requirements(card):
        raise ModelError(f"{card.name}: {'; '.join(missing)} (`requires` on its card); {_way_out(card)}")


def may_run_own_code(card: ModelCard, allowed: bool) -> bool:
    """Tell whether a model may run code of its own; `allowed` is what `--trust-remote-code` says.

    What a group may bring in runs it only if its card says so; a folder or hub id without a card was named.

    Raises:
        ModelError: the card says that it must and it may not, or versions that this code needs are not here.
    """
    if card.trust_remote_code and not allowed:
        raise ModelError(f"{card.name}: the model runs code of its own; allow it with --trust-remote-code")
    refuse_unmet(card)
    return allowed and (card.trust_remote_code or not card.groups)


@contextmanager
def naming_versions(card: ModelCard) -> Iterator[None]:
    """Add the versions that a card names to an error of its model's own code."""
    try:
        yield
    except ModelError as error:
        if not card.trust_remote_code:
            raise
        versions = f"transformers {version('transformers')}"
        if not card.requires:
            hint = "its card names no versions (`requires`); its page may say which it was written for"
            raise ModelError(f"{error}; it runs code of its own, here with {versions}: {hint}") from error
        wanted = ", ".join(_shown(Requirement(text)) for text in card.requires)
        raise ModelError(
            f"{error}; it runs code of its own, here with {versions}: its card names {wanted} (`requires`)"
        ) from error


def dtype_key() -> str:
    """Return what `from_pretrained` calls the weights' type; versions before 4.56 do not know the new name,
    and say nothing about it.
    """
    return "dtype" if Version(version("transformers")) >= Version("4.56") else "torch_dtype"


def _way_out(card: ModelCard) -> str:
    wanted = " ".join(f"'{_shown(Requirement(text))}'" for text in card.requires)
    return f"make an environment of its own and there, after the harness, `pip install {wanted}`"


def _unmet(card: ModelCard) -> list[tuple[Requirement, str | None]]:
    found = []
    for text in card.requires:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        installed = _installed(requirement.name)
        # What is installed is compared as it is: a development version is no reason to refuse by itself.
        if installed is None or not requirement.specifier.contains(installed, prereleases=True):
            found.append((requirement, installed))
    return found


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _shown(requirement: Requirement) -> str:
    """Return name, extras and versions in the order in which people write them: lower bounds first."""
    bounds = sorted(map(str, requirement.specifier), key=lambda bound: (bound.startswith(("<", "!")), bound))
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{','.join(bounds)}"
