"""`harness models`: what models there are, and what a card says."""

from __future__ import annotations

import json

import click


@click.group()
def models() -> None:
    """List and show models."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_command(as_json: bool) -> None:
    """List the models that come with a card."""
    from harness.tables import print_table
    from model_adapters.registry import shipped_cards

    cards = list(shipped_cards().values())
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

    from model_adapters.registry import resolve

    for selected in resolve([name]):
        content = selected.card.model_dump(mode="json", exclude_defaults=not as_json)
        if as_json:
            click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        else:
            click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True).rstrip())
