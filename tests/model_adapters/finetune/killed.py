"""A fine-tuning in a process of its own, which kills itself after a step."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch


def main(model: str, folder: str, last_step: str) -> None:
    torch.set_num_threads(1)
    from model_adapters.finetune import training
    from tests.model_adapters.finetune.small import Subject

    training.CHECKPOINT_SECONDS = 0.0  # after every step
    subject = Subject(Path(model), Path(folder))

    def progress(steps: int) -> None:
        if subject.tuning.step == int(last_step):
            os.kill(os.getpid(), signal.SIGKILL)

    subject.tuning.run(progress)


if __name__ == "__main__":
    main(*sys.argv[1:])
