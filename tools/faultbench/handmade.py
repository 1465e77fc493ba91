"""Small results made by hand, for tests of the bench's own arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.faultbench.cases import Case, Draw, Role, Severity, key_of
from tools.faultbench.results import Judged, Result


def _result(case: Case, verdicts: Mapping[str, str], accuracy: float, **more: Any) -> Result:
    judged = Judged(
        code="0" * 8,
        default=next(iter(verdicts)),
        verdicts=dict(verdicts),
        reason="",
        stages=(),
        details=more.pop("details", ()),
        levels=more.pop("levels", {}),
        drops={},
        smallest_visible_gap=0.03,
        seconds=1.0,
    )
    fields: dict[str, Any] = {"recorded": judged.verdict, "revision": "r", "seconds": {}} | more
    return Result(key=key_of(case, {}), case=case, judged=judged, accuracy=accuracy, **fields)


def healthy(
    verdict: str = "healthy",
    *,
    family: str = "llava",
    seed: int = 1,
    draw: int = 0,
    test: int = 1000,
    accuracy: float = 85.0,
    verdicts: Mapping[str, str] | None = None,
    **more: Any,
) -> Result:
    """A healthy model's result."""
    case = Case("healthy", "healthy", "none", family, seed, Draw(draw, test=test), ("healthy",))
    return _result(case, verdicts or {"isotonic": verdict}, accuracy, **more)


def fault(
    kind: str = "weak_vision",
    verdict: str = "vision",
    *,
    severity: Severity = "strong",
    family: str = "llava",
    seed: int = 1,
    draw: int = 0,
    test: int = 1000,
    accuracy: float = 60.0,
    expected: tuple[str, ...] = ("vision",),
    role: Role = "fault",
    verdicts: Mapping[str, str] | None = None,
    **more: Any,
) -> Result:
    """A faulty model's result."""
    case = Case(role, kind, severity, family, seed, Draw(draw, test=test), expected)
    return _result(case, verdicts or {"isotonic": verdict}, accuracy, **more)


def trap(
    kind: str,
    verdict: str = "no_signal",
    *,
    family: str = "llava",
    seed: int = 1,
    draw: int = 60,
    expected: tuple[str, ...] = ("no_signal",),
    verdicts: Mapping[str, str] | None = None,
    **more: Any,
) -> Result:
    """A trap's result."""
    labels = "shuffled" if kind == "shuffled_labels" else "true"
    case = Case("trap", kind, "none", family, seed, Draw(draw, labels=labels), expected)
    return _result(case, verdicts or {"isotonic": verdict}, 20.0, **more)
