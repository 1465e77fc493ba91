"""A comparison as JUnit XML: one test case a task, failed where a gate stops."""

from __future__ import annotations

from xml.etree import ElementTree

from harness.report.comparison.outcome import Outcome
from harness.report.comparison.words import change_of, name, name_of, p_of, reason, sentence
from leaderboard.compare.comparison import TaskComparison


def as_junit(outcome: Outcome) -> str:
    """Return the outcome as XML text.

    A task that stops a gate is a failure; what keeps a gate from deciding is an error; a task that one side
    lacks is skipped where that is allowed.
    """
    title = f"{name(outcome.candidate)} against {name(outcome.baseline)}"
    suite = ElementTree.Element("testsuite", name=title)
    for heading, task in outcome.tasks:
        _task(suite, heading, task)
    if outcome.refusal is not None:
        _complaint(_case(suite, "comparison"), "error", "not comparable", outcome.refusal)
    for one in outcome.missing:
        kind = "skipped" if outcome.allow_missing else "error"
        _complaint(_case(suite, one.title), kind, "missing", f"the {one.lacking} has no result of it")
    counts = {"tests": len(suite)} | {
        key: len(suite.findall(f"testcase/{kind}"))
        for key, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    for key, count in counts.items():
        suite.set(key, str(count))
    totals = {key: str(counts[key]) for key in ("tests", "failures", "errors")}
    root = ElementTree.Element("testsuites", {"name": "harness compare", **totals})
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _case(suite: ElementTree.Element, title: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname="harness.compare", name=name(title))


def _task(suite: ElementTree.Element, title: str, task: TaskComparison) -> None:
    case = _case(suite, title)
    if task.obstacles:
        _complaint(case, "error", "not comparable", "; ".join(task.obstacles))
    elif task.stops:
        _complaint(case, "failure", "regressed", sentence(task))
    lines = [
        f"{name(task.candidate.model)} against {name(task.baseline.model)}: {sentence(task)}",
        *(f"{name_of(c.name)}: {change_of(c)}, p {p_of(c.p_adjusted)}" for c in task.secondary),
        *task.remarks,
    ]
    ElementTree.SubElement(case, "system-out").text = "\n".join(lines)


def _complaint(case: ElementTree.Element, tag: str, kind: str, message: str) -> None:
    found = ElementTree.SubElement(case, tag, message=reason(message))
    if tag != "skipped":
        found.set("type", kind)
