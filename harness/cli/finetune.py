"""`harness finetune`: a model tuned on one task, by low-rank adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from harness.cli.parsing import (
    ASSUME_YES,
    DATA_DIR,
    DEVICE,
    MODEL_ARGS,
    OFFLINE,
    split,
)


@click.command("finetune")
@click.option("--task", "task_name", required=True, metavar="T", help="A task's name or YAML file.")
@click.option("--model", "model_name", required=True, metavar="M", help="A name, card YAML, or model folder.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the tuned model goes.  [default: tuned/<model>/<task>]",
)
@click.option(
    "--part",
    type=click.Choice(["language", "vision"]),
    default="language",
    show_default=True,
    help="language: teach the model the words of the answer. vision: tune the vision encoder alone, by a linear "
    "head on the layer that the connector reads.",
)
@click.option(
    "--method",
    type=click.Choice(["lora", "full"]),
    default="lora",
    show_default=True,
    help="full: train the vision encoder's own weights (--part vision).",
)
@click.option("--rank", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--alpha", type=click.IntRange(min=1), default=128, show_default=True)
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.05, show_default=True)
@click.option(
    "--targets",
    default="all-linear",
    show_default=True,
    metavar="NAME[,NAME]",
    help="Linear layers that are tuned, such as q_proj,v_proj.",
)
@click.option(
    "--connector/--no-connector", default=True, show_default=True, help="Train the connector in full."
)
@click.option(
    "--vision/--no-vision", default=False, show_default=True, help="Adapt the vision encoder's layers too."
)
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), default=2e-4, show_default=True)
@click.option("--warm-up", type=click.FloatRange(0, 1, max_open=True), default=0.03, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Images a step.")
@click.option(
    "--micro-batch",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Images of a step in memory at once; gradients are accumulated.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=3, show_default=True, help="At most.")
@click.option(
    "--evaluations",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Looks at the validation images.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Looks without a gain before it ends.",
)
@click.option(
    "--recompute", is_flag=True, help="Save memory: compute activations again in the backward pass."
)
@DATA_DIR
@DEVICE
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--limit-train", type=click.IntRange(min=1), help="Tune on this many images of the half.")
@click.option("--limit-validation", type=click.IntRange(min=1), default=500, show_default=True)
@MODEL_ARGS
@OFFLINE
@ASSUME_YES
@click.option("--trust-remote-code", is_flag=True, help="Run code that the model brings along.")
@click.option("--overwrite", is_flag=True, help="Replace what is in the folder, and begin anew.")
def finetune_command(
    task_name: str,
    model_name: str,
    output: Path | None,
    part: Literal["language", "vision"],
    method: Literal["lora", "full"],
    rank: int,
    alpha: int,
    dropout: float,
    targets: str,
    connector: bool,
    vision: bool,
    learning_rate: float,
    warm_up: float,
    batch: int,
    micro_batch: int,
    epochs: int,
    evaluations: int,
    patience: int,
    recompute: bool,
    data_dir: Path | None,
    device: str,
    seed: int,
    limit_train: int | None,
    limit_validation: int,
    model_args: dict[str, str],
    offline: bool,
    assume_yes: bool,
    trust_remote_code: bool,
    overwrite: bool,
) -> None:
    """Fine-tune a model on one half of a task's training images.

    The other half is left for the probes of `harness eval`, the validation images choose the weights, and test
    images are never shown. What was done is kept: the same command started again goes on after its last
    checkpoint. The folder is then evaluated like any model; its results are filed as `lora`.

    \b
    Exit status: 0 done; 1 it failed; 2 bad usage; 130 interrupted.

    \b
    Examples:
      harness finetune --task phantom --model zoo/llava-healthy
      harness finetune --task busi --model google/medgemma-4b-it --data-dir ~/data
      harness eval --tasks phantom --models tuned/zoo--llava-healthy/phantom
    """
    from harness.console import Console
    from harness.tuning.finetuning import finetune
    from harness.tuning.options import FinetuneOptions
    from model_adapters.catalog.registry import resolve
    from model_adapters.finetune.settings import TuningSettings
    from model_adapters.interface import ModelError
    from tasks import catalog
    from tasks.included import included_tasks
    from tasks.spec import TaskError

    try:
        names = catalog.expand([task_name], included_tasks())
        models = resolve([model_name])
        settings = TuningSettings(
            part=part,
            method=method,
            rank=rank,
            alpha=alpha,
            dropout=dropout,
            targets=() if targets == "all-linear" else split(targets),
            connector=connector,
            vision=vision,
            learning_rate=learning_rate,
            warm_up=warm_up,
            batch=batch,
            micro_batch=micro_batch,
            epochs=epochs,
            evaluations=evaluations,
            patience=patience,
            recompute=recompute,
            seed=seed,
        )
    except (TaskError, ModelError) as error:
        raise click.UsageError(str(error)) from error
    for what, found, asked in (("task", names, task_name), ("model", models, model_name)):
        if len(found) != 1:
            raise click.UsageError(f"--{what} {asked} stands for {len(found)}; name one {what}")
    task, card = catalog.load(names[0]), models[0].card
    folder = output or Path("tuned") / card.name.replace("/", "--") / task.id
    options = FinetuneOptions(
        task=task,
        card=card,
        output=folder,
        settings=settings,
        limit_train=limit_train,
        limit_validation=limit_validation,
        data_dir=data_dir,
        device=device,
        model_args=model_args,
        offline=offline,
        assume_yes=assume_yes,
        trust_remote_code=trust_remote_code,
        overwrite=overwrite,
    )
    finetune(options, Console())
    click.echo(folder)
