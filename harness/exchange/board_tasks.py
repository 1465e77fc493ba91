"""List a task's images for a board, from a copy of the data."""

from __future__ import annotations

from pathlib import Path

from harness.data.progress import Step, silent
from harness.data.sources import load_dataset
from harness.plan.tuning_halves import ALL
from leaderboard.board.image_list import ImageList, image_list
from tasks.spec import TaskSpec


def listed_images(
    task: TaskSpec,
    *,
    data_dir: Path | None = None,
    offline: bool = False,
    assume_yes: bool = False,
    progress: Step = silent,
) -> ImageList:
    """Return the list of all images of a task, as they are split here.

    Raises:
        DataError: the data cannot be found, read or trusted.
    """
    dataset = load_dataset(
        task,
        data_dir=data_dir,
        offline=offline,
        assume_yes=assume_yes,
        max_train=ALL,  # a run takes its training images from all
        progress=progress,
    )
    return image_list(task, dataset.official, dataset.samples)
