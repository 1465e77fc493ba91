"""Make torchvision importable where its compiled operators do not fit the torch that is installed.

torchvision from PyPI is built against CUDA's torch. Over a CPU build it fails at its first import, since it
describes two operators that its library would have declared. vLLM and transformers want its image transforms
alone, which need no operator. Here both operators are declared, by schema and without a body, when torchvision
is about to be imported. vLLM looks at models in processes of its own, so that this has to be at work in every
process: `patch_venv.py` puts it beside a `.pth` file that imports it when Python starts.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class DeclareOperators(MetaPathFinder):
    """Finds nothing itself: it declares the operators the moment torchvision is looked for."""

    def __init__(self) -> None:
        self.library: Any = None  # the declarations last as long as this does

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname == "torchvision" and self.library is None:
            import torch

            self.library = torch.library.Library("torchvision", "DEF")
            for schema in SCHEMAS:
                self.library.define(schema)


sys.meta_path.insert(0, DeclareOperators())
