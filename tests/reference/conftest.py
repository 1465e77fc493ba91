"""A small data set of drawn images, and one thread for tiny networks."""

from __future__ import annotations

import pytest
import torch

from harness.data.dataset import Dataset
from harness.data.sources import load_dataset
from tasks.catalog import load


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Fewer phantom images than any task has."""
    task = load("phantom-200")
    splits = {name: split.model_copy(update={"count": 60}) for name, split in task.source.splits.items()}
    small = task.model_copy(update={"source": task.source.model_copy(update={"splits": splits})})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return load_dataset(small, offline=True)
