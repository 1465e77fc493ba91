"""Hold the study's budget against measured times, and write what it says of the paper's grid.

`python tools/bench/study_budget.py --output docs/study-budget.md`, two minutes on one core. `--flops`,
`--bandwidth`, `--memory`, `--pixels` and `--prompt-tokens` are the reader's own device and images.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

from sized import Shape, measure
from study_grid import Device, grid_sections
from study_measured import FITTED, OTHERS, measured_section, probe_section
from table import _machine, _section


def main() -> None:
    """Measure, predict, print and write."""
    given = _arguments()
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.disable_progress_bar()
    repetitions = 1 if given.quick else 5
    shapes: tuple[Shape, ...] = (*FITTED[:1], *OTHERS[:1]) if given.quick else (*FITTED, *OTHERS)
    with tempfile.TemporaryDirectory() as folder:
        found = [measure(shape, Path(folder), repetitions) for shape in shapes]
    probes, rates = probe_section(quick=given.quick)
    device = Device(given.flops, given.bandwidth, given.memory, given.pixels, given.prompt_tokens)
    sections = [measured_section(found), probes, *grid_sections(device, rates)]
    lines = ["# What a study costs", "", *_head(given), ""]
    for section in sections:
        lines += [*_section(section), ""]
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    if given.output is not None:
        given.output.write_text(text, encoding="utf-8")


def _head(given: argparse.Namespace) -> list[str]:
    said = [f"--flops {given.flops:g} --bandwidth {given.bandwidth:g} --memory {given.memory:g}"]
    said += [f"--prompt-tokens {given.prompt_tokens}"]
    said += [f"--pixels {given.pixels}"] if given.pixels else []
    said += ["--quick"] if given.quick else []
    quick = ["**A quick run, to see that it works: its figures mean little.**", ""] if given.quick else []
    return [
        *quick,
        f"Made by `python tools/bench/study_budget.py {' '.join(said)}` on {_machine()}. Run it with your "
        f"own numbers: "
        "operations a second that your device sustains, bytes a second and bytes of its memory, pixels of "
        "your images.",
        "",
        "The formula is [tools/study_budget.py](../tools/study_budget.py). **It was checked on one "
        "CPU core with "
        "small random models in single precision, and on no accelerator.** The grid below is worked out, "
        "not measured: "
        "no model of it was run for this page.",
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="file to write, for example docs/study-budget.md")
    parser.add_argument("--flops", type=float, default=2e14, help="sustained operations a second")
    parser.add_argument(
        "--bandwidth", type=float, default=1.5e12, help="bytes a second of the device's memory"
    )
    parser.add_argument("--memory", type=float, default=80e9, help="bytes of the device's memory")
    parser.add_argument("--pixels", type=int, help="of an image, for models whose tokens follow its size")
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="two models, once, to see that it works")
    found = parser.parse_args()
    if min(found.flops, found.bandwidth, found.memory, found.prompt_tokens, found.pixels or 1) <= 0:
        parser.error("all numbers must be above 0")
    return found


if __name__ == "__main__":
    sys.exit(main())
