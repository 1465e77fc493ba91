"""The faults of `model_adapters.zoo.faults`, as the bench's cases and its model folders need them."""

from __future__ import annotations

from pathlib import Path

from tests.faultbench.cases import Case, FaultKind


def fault_kinds() -> tuple[FaultKind, ...]:
    """Return every fault that can be planted."""
    return ()


def plant_fault(case: Case, healthy: Path, directory: Path) -> None:
    """Write the healthy model with a case's fault planted to `directory`."""
    raise NotImplementedError
