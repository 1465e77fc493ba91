"""The lists of images that tasks ship are what this code makes of the tasks."""

from __future__ import annotations

import pytest

from harness.exchange.board_tasks import listed_images
from leaderboard.board.image_list import dump_image_list
from tasks import catalog
from tasks.document import SHIPPED


@pytest.mark.parametrize("name", ["phantom-200", pytest.param("phantom", marks=pytest.mark.slow)])
def test_a_shipped_list_is_that_of_its_task(name: str) -> None:
    shipped = (SHIPPED / "lists" / f"{name}.images.csv").read_text(encoding="utf-8")
    made = dump_image_list(listed_images(catalog.load(name)))
    assert made == shipped
