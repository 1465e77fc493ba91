"""What a case's answers and features depend on, beside the case itself."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from tools.faultbench.cases import Case, key_of


def keys_of(cases: Iterable[Case]) -> dict[str, str]:
    """Return every case's key by its name."""
    return {case.name: key_of(case, versions(case)) for case in cases}


def versions(case: Case) -> dict[str, Any]:
    """Return the versions that enter a case's key; a case made under others is run again.

    How answers are judged is left out: kept cases are judged again instead.
    """
    return {**_code(), "recipe": recipe_id(case.family, case.seed)}


@cache
def recipe_id(family: str, seed: int) -> str:
    """Return a hash of everything that a healthy model is trained by."""
    from tools import train_built_in

    return train_built_in.recipe_id(family, seed)


@cache
def _code() -> dict[str, int]:
    from harness.data.phantom import GENERATOR_VERSION
    from harness.plan.configuration import RUN_VERSION
    from harness.watch.floors import FLOORS_VERSION
    from model_adapters.engines.classifier.reference import RECIPE_VERSION

    return {
        "phantom": GENERATOR_VERSION,
        "run": RUN_VERSION,
        "floors": FLOORS_VERSION,
        "reference": RECIPE_VERSION,
    }
