"""`harness models`: what models there are, what a card says, whether it is true, and a card of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.parsing import DEVICE, ENGINE, MODEL_ARGS

if TYPE_CHECKING:
    from model_adapters.checks.model_check import Finding


@click.group()
def models() -> None:
    """List, show and check models, and add one."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_command(as_json: bool) -> None:
    """List the models that come with a card, and those that `harness zoo build` made."""
    from harness.console import print_table
    from model_adapters.catalog.registry import built_models, shipped_cards
    from model_adapters.interface import ModelError

    cards = list(shipped_cards().values())
    try:
        cards += built_models()
    except ModelError as error:  # a card that cannot be read must not hide the others
        click.echo(f"harness: {error}", err=True)
    if as_json:
        click.echo(json.dumps([card.model_dump(mode="json") for card in cards], indent=2, ensure_ascii=False))
        return
    rows = [
        (
            card.name,
            ", ".join(card.groups),
            card.architecture or "-",
            card.engine,
            card.licence or "not stated",
        )
        for card in cards
    ]
    print_table("Models", ("name", "groups", "architecture", "engine", "licence"), rows)


@models.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def show_command(name: str, as_json: bool) -> None:
    """Show the card of NAME: a name, a card's YAML file, a model folder or a hub id."""
    import yaml

    from model_adapters.catalog.registry import resolve

    for selected in resolve([name]):
        content = selected.card.model_dump(mode="json", exclude_defaults=not as_json)
        if as_json:
            click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        else:
            click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True).rstrip())


@models.command("check")
@click.argument("name")
@ENGINE
@DEVICE
@MODEL_ARGS
@click.option("--offline", is_flag=True, help="Never reach for the network.")
@click.option("--trust-remote-code", is_flag=True, help="Let the model's own code run.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def check_command(
    name: str,
    engine: str,
    device: str,
    model_args: dict[str, str],
    offline: bool,
    trust_remote_code: bool,
    as_json: bool,
) -> int:
    """Load the model NAME and prove that its card is right and that its layers can be watched.

    \b
    Exit status: 0 every check passed; 1 one failed, and its line names the card's key.
    """
    from model_adapters.catalog.registry import resolve
    from model_adapters.checks.model_check import check_model

    failed = False
    reports = []
    for selected in resolve([name]):
        findings = check_model(
            selected.card,
            engine=engine,
            device=device,
            trust_remote_code=trust_remote_code,
            offline=offline,
            model_args=model_args,
        )
        failed = failed or any(finding.passed is False for finding in findings)
        reports.append((selected.card.name, findings))
    _print_findings(reports, as_json)
    return int(failed)


def _print_findings(reports: list[tuple[str, tuple[Finding, ...]]], as_json: bool) -> None:
    from dataclasses import asdict

    from harness.console import print_table

    if as_json:
        content = [{"model": name, "findings": [asdict(f) for f in found]} for name, found in reports]
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    states = {True: "passed", False: "FAILED", None: "not made"}
    for name, found in reports:
        print_table(
            name, ("check", "result", "detail"), [(f.check, states[f.passed], f.detail) for f in found]
        )


@models.command("add")
@click.argument("model")
@click.option("--name", help="Name in tables and result folders; default: that of the folder or hub id.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The card's file; default: NAME.yaml in the current folder.",
)
@click.option("--overwrite", is_flag=True, help="Write over a card that is there already.")
@click.option("--offline", is_flag=True, help="Never reach for the network.")
@click.option("--trust-remote-code", is_flag=True, help="Let the model's own code run to look at it.")
def add_command(
    model: str, name: str | None, output: Path | None, overwrite: bool, offline: bool, trust_remote_code: bool
) -> None:
    """Write a card for MODEL, a model folder or a hub id, after looking at its configuration."""
    from model_adapters.catalog.registry import resolve
    from model_adapters.checks.card_draft import draft_card, write_card

    chosen = resolve([model])
    if len(chosen) != 1:
        raise click.UsageError(f"{model} stands for {len(chosen)} models; name one folder or hub id")
    card = chosen[0].card
    if name is not None:
        from model_adapters.catalog.card import make_card

        card = make_card({**card.model_dump(), "name": name}, "--name")
    card = draft_card(card, offline=offline, trust_remote_code=trust_remote_code)
    file = output or Path(f"{card.name.replace('/', '--')}.yaml")
    write_card(card, file, overwrite=overwrite)
    click.echo(f"{file}: {card.architecture}, {card.anatomy.vision_blocks} vision and ", nl=False)
    click.echo(f"{card.anatomy.llm_blocks} language-model blocks", nl=False)
    click.echo(f"; evaluate it with: harness eval --tasks phantom --models {file}")
