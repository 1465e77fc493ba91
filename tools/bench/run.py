"""Measure speed ratios on the built-in model, print them and write them as a page.

`python tools/bench/run.py --output docs/benchmarks.md`, a few minutes on two cores; `--quick` is a trial
of some seconds on a few images.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main() -> None:
    """Run every comparison in turn; show each as it ends, and write the page at the end."""
    arguments = _arguments()
    # Before the libraries are loaded: they read these once.
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"), TOKENIZERS_PARALLELISM="false")
    from table import page

    sections = []
    for section in _measured(quick=arguments.quick):
        sections.append(section)
        print(f"measured: {section.title}", file=sys.stderr, flush=True)
    text = page(sections, quick=arguments.quick)
    print(text)
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")


def _measured(*, quick: bool) -> Iterator[Any]:
    import torch
    from command import whole_command
    from forward import options, watching
    from probe_fits import linear, paper, watch
    from subject import load_subject

    from probes.fit.linear import STRENGTHS
    from probes.fit.paper import PUBLISHED, PaperRecipe

    torch.set_num_threads(1)
    subject = load_subject()
    if quick:
        yield watching(subject, images=16, repetitions=1)
        yield options(subject, images=16, repetitions=1)
        features = watch(subject, 50, 25, 25)
        yield linear(features, strengths=STRENGTHS[2:4], repetitions=1)
        yield paper(features, recipe=PaperRecipe(epochs=1), repetitions=1)
        yield whole_command(task="phantom-200", limits=("--limit", "5", "--no-probe"))
        return
    yield watching(subject, images=256, repetitions=7)
    yield options(subject, images=256, repetitions=3)
    features = watch(subject, 1500, 500, 500)
    yield linear(features, repetitions=3)
    yield paper(features, recipe=PUBLISHED, repetitions=2)
    yield whole_command(task="phantom-200")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="file to write, for example docs/benchmarks.md")
    parser.add_argument("--quick", action="store_true", help="a few images, to see that it works")
    return parser.parse_args()


if __name__ == "__main__":
    main()
