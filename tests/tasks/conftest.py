from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import catalog
from tasks.spec import TaskError

LUMPS = """\
id: lumps
title: Lumps
version: 1
modality: ultrasound
description: Lumps in images.
classes:
  - {name: none, wording: no lump}
  - {name: soft, wording: soft lump, aliases: [squashy]}
  - {name: hard, wording: hard lump}
prompts:
  - {id: free, kind: label, template: "Is it {classes}?"}
  - {id: paraphrase_1, kind: label, template: "Say {classes}."}
  - {id: paraphrase_2, kind: label, template: "Name it, {classes}."}
  - {id: letters, kind: letters, template: "Pick one: {options}"}
primary_prompt: free
licence: CC0-1.0
redistribute_pixels: true
citation: Nobody, 2020.
source:
  layout: npz
  file: lumps.npz
  md5: 0123456789abcdef0123456789abcdef
  splits:
    train: {images: train_images, labels: train_labels}
    test: {images: test_images, labels: test_labels}
"""


@pytest.fixture
def lumps() -> str:
    """A whole, valid task."""
    return LUMPS


@pytest.fixture
def problems(tmp_path: Path) -> Callable[..., list[str]]:
    """Write a task file and return the lines of its error, without the folder; none where it is good."""

    def report(text: str, name: str = "lumps.yaml") -> list[str]:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        try:
            catalog.load(path)
        except TaskError as error:
            return str(error).replace(f"{tmp_path}/", "").splitlines()
        return []

    return report
