# What type checkers see in place of the lazy `__init__.py`.

from harness.exchange.verify import verify as verify
from harness.plan.plan import PlanError as PlanError
from harness.report.comparison.compare import ComparisonResult as ComparisonResult
from harness.report.comparison.compare import compare as compare
from harness.run.evaluate import evaluate as evaluate
from harness.run.results import Results as Results
from harness.run.results import TaskResult as TaskResult
from harness.run.results import load as load
from leaderboard.record.record import RecordError as RecordError
from model_adapters.interface import ModelError as ModelError
from tasks.spec import TaskError as TaskError

__all__ = [
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
__version__: str

def shadowed() -> str | None: ...
