"""How a comparison is put into words and numbers, wherever it is written."""

from __future__ import annotations

from harness.report.comparison.outcome import NOT_COMPARED, PASSED, STOPPED, Outcome
from leaderboard.compare.comparison import TaskComparison
from leaderboard.compare.parts import Change
from leaderboard.record.untrusted import printable

_LONGEST_NAME = 100  # characters that are shown
_LONGEST_REASON = 1000

_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "fhs_vision": "FHS vision",
    "fhs_connector": "FHS connector",
    "fhs_llm": "FHS language model",
    "drop_vision": "drop vision",
    "drop_connector": "drop connector",
    "drop_comprehension": "drop comprehension",
    "drop_mapping": "drop mapping",
}


def name(text: str) -> str:
    """Return a name from a record or path as one printable line, cut short where it is very long."""
    return printable(text, _LONGEST_NAME)


def reason(text: str) -> str:
    """Return a sentence that may hold names, as one printable line."""
    return printable(text, _LONGEST_REASON)


def name_of(change: str) -> str:
    """Return what a change is called in tables."""
    return _NAMES[change]


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f}"


def signed(value: float, unit: str) -> str:
    """Return a change with its sign: shares in points, everything else as it is."""
    return _number(value, unit, "+")


def level_of(value: float, unit: str) -> str:
    """Return one run's value: shares in percent, everything else as it is."""
    return _number(value, unit, "-")


def change_of(change: Change) -> str:
    """Return a change with its 95% interval."""
    value, low, high = (signed(x, change.unit) for x in (change.value, change.low, change.high))
    return f"{value} ({low} to {high})"


def p_of(p: float) -> str:
    """Return a p value."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def visible(task: TaskComparison) -> str:
    """Return the smallest visible drop in points."""
    return "none" if task.smallest_visible_drop is None else f"{100 * task.smallest_visible_drop:.1f}"


def verdict_of(task: TaskComparison) -> str:
    """Return the verdict, and that it stops nothing where it does not."""
    found = task.decision.verdict
    if found == "regressed" and not task.stops:
        return f"regressed (less than {task.smallest_regression:g} points)"
    return found


def sentence(task: TaskComparison) -> str:
    """Say in one sentence what was found on a task."""
    change = f"accuracy {change_of(task.accuracy)} points, p {p_of(task.decision.p_adjusted)}"
    if task.smallest_visible_drop is None:
        seen = f"no drop would show on {task.images} images"
    else:
        seen = f"a drop of {visible(task)} points would show in 80% of cases"
    return f"{verdict_of(task)}: {change}; {seen}"


def gate_sentence(outcome: Outcome) -> str:
    """Say what a gate makes of it."""
    return {
        PASSED: (
            "passes: the significant regressions are smaller than the thresholds"
            if any(task.decision.verdict == "regressed" for _, task in outcome.tasks)
            else "passes: no significant regression"
        ),
        STOPPED: "stops: the candidate is significantly worse",
        NOT_COMPARED: "cannot decide",
    }[outcome.gate_code]


def _number(value: float, unit: str, sign: str) -> str:
    text = format(100 * value, f"{sign}.1f") if unit == "share" else format(value, f"{sign}.3f")
    return text.replace("-", "−") if float(text) else text.lstrip("+-")
