"""How to cite a result: the software, the method's paper, the task's data and the model."""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.pictures import shipped_task
from leaderboard.record.record import Record

# As in CITATION.cff, which an installed package does not hold; a test compares the two.
TITLE = "mllm-harness: where medical multimodal models lose the image"
AUTHORS = "The mllm-harness developers"
PAPER_TITLE = (
    "Lost in the Hype: Revealing and Dissecting the Performance Degradation of Medical Multimodal Large Language "
    "Models in Image Classification"
)
PAPER_AUTHOR = ("Zhu", "X.")
PAPER_YEAR = 2026
PAPER_ARXIV = "2604.08333"


@dataclass(frozen=True)
class Citation:
    """One thing to cite: what it is, and the text. `entry` tells whether that is an entry of several lines."""

    what: str
    text: str
    entry: bool = False


def citations(record: Record) -> tuple[Citation, ...]:
    """Return what a text that uses this result should cite."""
    return (
        Citation("This software", f"{AUTHORS}. {TITLE}. Version {record.provenance.harness_version}."),
        Citation(
            "The paper whose method it builds on",
            f"{PAPER_AUTHOR[0]}, {PAPER_AUTHOR[1]}, et al. ({PAPER_YEAR}). {PAPER_TITLE}. arXiv:{PAPER_ARXIV}.",
        ),
        _task(record),
        _model(record),
    )


def _task(record: Record) -> Citation:
    task, name = shipped_task(record), f"{record.task.name} version {record.task.version}"
    if task is None:
        return Citation("The images", f"{name}: no task of the harness; cite what its author names.")
    return Citation(f"The images ({task.title})", task.citation.strip(), "\n" in task.citation.strip())


def _model(record: Record) -> Citation:
    model = record.model
    place = (
        f"{model.hub_id}, revision {model.revision}"
        if model.hub_id
        else f"no hub id, revision {model.revision}"
    )
    return Citation("The model", f"{model.name}: {place}.")
