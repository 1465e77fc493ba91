"""Where do medical multimodal models lose the image? The commands of `harness` by the same words, from Python.

`evaluate` asks models and files the results, `load` reads what was filed, `compare` says whether a candidate has
become worse, and `verify` computes the scores of a board again. They are loaded when they are first used, so that
`import harness` costs nothing.

Examples:
    >>> import harness
    >>> results = harness.load("leaderboard/entries/zoo--llava-healthy/phantom")  # in a clone of the repository
    >>> results.verdict
    'healthy'
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = [  # type checkers read `__init__.pyi`
    "ComparisonResult",
    "ModelError",
    "PlanError",
    "RecordError",
    "Results",
    "TaskError",
    "TaskResult",
    "__version__",
    "compare",
    "evaluate",
    "load",
    "verify",
]

_PLACES = {
    "ComparisonResult": "harness.report.comparison.compare",
    "ModelError": "model_adapters.interface",
    "PlanError": "harness.plan.plan",
    "RecordError": "leaderboard.record.record",
    "Results": "harness.run.results",
    "TaskError": "tasks.spec",
    "TaskResult": "harness.run.results",
    "compare": "harness.report.comparison.compare",
    "evaluate": "harness.run.evaluate",
    "load": "harness.run.results",
    "verify": "harness.exchange.verify",
}
_PACKAGES = ("leaderboard", "model_adapters", "probes", "tasks")


def __getattr__(name: str) -> object:
    """Load a part of the API when it is first used.

    Raises:
        ImportError: something else has the name of one of our packages; the message names it and the way out.
    """
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    problem = shadowed()
    if problem is not None:
        raise ImportError(problem)
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def shadowed() -> str | None:
    """Say in one line which foreign module hides a package of ours, and the way out; None where none does.

    A folder without `__init__.py` hides nothing: Python prefers a package, wherever it stands on the path.
    """
    import sys
    from importlib.util import find_spec
    from pathlib import Path

    ours = Path(__file__).resolve().parent.parent
    for name in _PACKAGES:
        loaded = sys.modules.get(name)
        spec = find_spec(name) if loaded is None else loaded.__spec__
        origin = None if spec is None else spec.origin
        if origin is None:
            return f"the package `{name}` is missing beside {ours / 'harness'}; install mllm-harness again"
        if Path(origin).resolve() != ours / name / "__init__.py":
            return (
                f"{origin} hides the package `{name}` of mllm-harness: rename it, or keep its folder off Python's "
                "path (start `python -P`, or in another folder)"
            )
    return None
