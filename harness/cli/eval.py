"""`harness eval`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from harness.cli.parsing import (
    ASSUME_YES,
    DATA_DIR,
    DEVICE,
    ENGINE,
    INCLUDE_PATH,
    MODEL_ARGS,
    OFFLINE,
    checked,
    command_line,
    names,
    split,
)


def _readouts(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    from harness.plan.options import known_readouts

    return checked(known_readouts, split(value))


def _batch_size(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    if value == "auto":
        return None
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"'{value}' is neither 'auto' nor a number of images above 0")
    return int(value)


@click.command("eval")
@click.option(
    "--tasks",
    "tasks",
    required=True,
    callback=names,
    metavar="T[,T]",
    help="Names, globs, 'all', or task YAML files.",
)
@click.option(
    "--models",
    "models",
    required=True,
    callback=names,
    metavar="M[,M]",
    help="Names, globs, groups, card YAMLs, or model folders.",
)
@INCLUDE_PATH
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), show_default=True
)
@DATA_DIR
@click.option(
    "--limit", type=click.IntRange(min=1), help="Ask about this many test images; the record is 'partial'."
)
@click.option(
    "--readout", default="linear", callback=_readouts, help="linear, paper, or both.", show_default=True
)
@ENGINE
@DEVICE
@click.option(
    "--batch-size", default="auto", callback=_batch_size, show_default=True, help="auto, or images a pass."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--no-probe", is_flag=True, help="Answers only: watch no layer, fit no probe.")
@click.option(
    "--floors",
    type=click.Choice(["all", "task"]),
    default="all",
    show_default=True,
    help="What the layers are held against. task: reference, pixels and majority class, computed once a "
    "task. all: also a blank image and the vision encoder with random weights, once a model.",
)
@click.option(
    "--reference",
    default="built-in",
    show_default=True,
    metavar="M",
    help="The classifier R that is the ceiling of the vision layers: built-in, or one of the group reference.",
)
@click.option(
    "--answer-target/--no-answer-target",
    default=True,
    show_default=True,
    help="Probe the last token for the letter of the right option: one more pass over at most 1,900 images.",
)
@click.option(
    "--causal",
    is_flag=True,
    help="Change hidden states and see what the answers depend on: at the connector and at up to 3 decoder layers "
    "for image tokens and last token each, erase the class (null: 20 random erasures) and swap tokens "
    "between images of different classes. About 170 passes over at most 96 test images.",
)
@click.option(
    "--max-train", type=click.IntRange(min=1), help="At most this many training images for the probes."
)
@click.option(
    "--probing-half",
    is_flag=True,
    help="Learn only from the half of train that `harness finetune` leaves for probes, so that the layers of a "
    "model and of its tuned sibling are read by probes of the same images.",
)
@MODEL_ARGS
@click.option("--executor", type=click.Choice(["local"]), default="local", show_default=True)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@OFFLINE
@ASSUME_YES
@click.option("--overwrite", is_flag=True, help="Replace results of another configuration.")
@click.option("--trust-remote-code", is_flag=True, help="Run code that a model brings along; name the model.")
def eval_command(
    tasks: tuple[str, ...],
    models: tuple[str, ...],
    include_paths: tuple[Path, ...],
    output: Path,
    data_dir: Path | None,
    limit: int | None,
    readout: tuple[str, ...],
    engine: str,
    device: str,
    batch_size: int | None,
    seed: int,
    no_probe: bool,
    floors: Literal["all", "task"],
    reference: str,
    answer_target: bool,
    causal: bool,
    max_train: int | None,
    probing_half: bool,
    model_args: dict[str, str],
    executor: str,
    dry_run: bool,
    offline: bool,
    assume_yes: bool,
    overwrite: bool,
    trust_remote_code: bool,
) -> int:
    """Ask models about medical images, watch their layers, and file the records.

    Prints a plan first: what runs, what is skipped and why. What was done is kept; the same command
    started again goes on where it stopped.

    \b
    Exit status: 0 all done; 1 something that was to run failed; 2 bad usage; 130 interrupted.

    \b
    Examples:
      harness eval --tasks phantom --models zoo
      harness eval --tasks pathmnist,busi --models path/to/a/model --data-dir ~/data
    """
    from harness.cli.tables import plan_table, result_table
    from harness.console import Console
    from harness.plan.options import EvalOptions
    from harness.plan.plan import PlanError
    from harness.run.evaluate import carried_out, planned
    from model_adapters.interface import ModelError
    from tasks.spec import TaskError

    options = EvalOptions(
        output=output,
        data_dir=data_dir,
        limit=limit,
        readouts=readout,
        engine=engine,
        device=device,
        batch_size=batch_size,
        seed=seed,
        probe=not no_probe,
        floors=floors,
        answer_target=answer_target,
        causal=causal,
        max_train=max_train,
        probing_half=probing_half,
        model_args=model_args,
        offline=offline,
        assume_yes=assume_yes,
        overwrite=overwrite,
        trust_remote_code=trust_remote_code,
        command=command_line(),
    )
    try:
        plan, options = planned(
            tasks,
            models,
            options,
            reference=reference,
            include_paths=include_paths,
            say=lambda problem: click.echo(f"harness: {problem}", err=True),
        )
    except (TaskError, ModelError, PlanError) as error:
        raise click.UsageError(str(error)) from error
    plan_table(plan)
    if dry_run:
        return 1 if plan.failures else 0
    results = carried_out(plan, options, Console())
    result_table(results)
    return 1 if results.failures or any(result.status == "failed" for result in results) else 0
