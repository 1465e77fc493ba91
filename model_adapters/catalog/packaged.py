"""Engines that installed packages offer, by entry points of the group `harness.engines`.

The value of such an entry point is `module:function`; the function takes a card and `interface.LoadOptions`
and returns an engine, as those in `registry.ENGINES` do. Nothing of a package is imported before its engine
is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from model_adapters.catalog.card import ModelCard
from model_adapters.interface import Engine, LoadOptions, ModelError, one_line

GROUP = "harness.engines"

Factory = Callable[[ModelCard, LoadOptions], object]


@dataclass(frozen=True)
class PackagedEngine:
    """An engine under one name; more than one entry point there is an error where the engine is asked for."""

    name: str
    entry_points: tuple[EntryPoint, ...]

    @property
    def title(self) -> str:
        """The engine in messages: its entry points and their packages."""
        return " and ".join(_title(entry_point) for entry_point in self.entry_points)

    def why_unavailable(self) -> str | None:
        """Import the package and say why its engine cannot be used, None where it can be."""
        try:
            self._factory()
        except ModelError as error:
            return str(error)
        return None

    def load(self, card: ModelCard, options: LoadOptions) -> Engine:
        """Make the engine of a card.

        Raises:
            ModelError: the package cannot be imported, its function fails, or what it returns is no engine.
        """
        factory = self._factory()
        try:
            made = factory(card, options)
        except ModelError:
            raise
        except (Exception, SystemExit) as error:  # a package's own code may raise anything
            raise ModelError(f"{card.name}: {self.title} failed ({_reason(error)})") from error
        if not isinstance(made, Engine):
            raise ModelError(
                f"{card.name}: {self.title} returned a {type(made).__name__}, which is no engine; "
                "see model_adapters.interface.Engine for what it must have"
            )
        return made

    def _factory(self) -> Factory:
        if len(self.entry_points) > 1:
            raise ModelError(
                f"two packages offer an engine {self.name!r}: {self.title}; uninstall one of them"
            )
        try:
            factory = self.entry_points[0].load()
        except (Exception, SystemExit) as error:  # a package's own code may raise anything
            raise ModelError(f"{self.title} cannot be loaded ({_reason(error)})") from error
        if not callable(factory):
            raise ModelError(f"{self.title} is no function that makes an engine of a card")
        made_of: Factory = factory
        return made_of


def packaged_engines() -> Mapping[str, PackagedEngine]:
    """Return what installed packages offer, by name."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry_point in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        found[entry_point.name] = (*found.get(entry_point.name, ()), entry_point)
    return {name: PackagedEngine(name, offered) for name, offered in found.items()}


def _title(entry_point: EntryPoint) -> str:
    package = entry_point.dist.name if entry_point.dist else "an unnamed package"
    return f"the entry point {entry_point.name} = {entry_point.value} ({GROUP}) of {package}"


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error)}"
