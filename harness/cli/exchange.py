"""`harness push` and `harness export`: results for the Hugging Face hub, for model cards, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from leaderboard.record.record import Record


def _repository(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(value)
    except HFValidationError as error:
        raise click.BadParameter(f"'{value}' is no repository of the hub, such as owner/name") from error
    if value.count("/") != 1:
        raise click.BadParameter(f"'{value}' must be written owner/name")
    return value


@click.command("push")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT_DIR…")
@click.option(
    "--to", "repository", callback=_repository, metavar="OWNER/NAME", help="The repository on the hub."
)
@click.option(
    "--repo-type",
    type=click.Choice(["dataset", "model"]),
    help="Its kind.  [default: dataset; with --model-card: model]",
)
@click.option("--private", is_flag=True, help="Make a new repository private; refuse one that is public.")
@click.option(
    "--model-card",
    is_flag=True,
    help="Push no files, but write the scores into the repository's README.md: a section that is replaced in "
    "place, and the front matter's model-index.",
)
@click.option(
    "--write",
    "card",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="README.md",
    help="With --model-card: write them into this file instead, without the hub.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be pushed or written; contact nothing.")
def push_command(
    folders: tuple[Path, ...],
    repository: str | None,
    repo_type: Literal["dataset", "model"] | None,
    private: bool,
    model_card: bool,
    card: Path | None,
    dry_run: bool,
) -> None:
    """Put results on the Hugging Face hub, or their scores into a model card.

    Of each RESULT_DIR record.json, samples.jsonl, probes.jsonl and report.html go to results/<model>/<task>/ of the
    repository, in one commit. Nothing else is pushed; the report is left out where the task's images may not be
    passed on. The token is that of `hf auth login`, or HF_TOKEN.

    \b
    Examples:
      harness push results/*/busi --to me/my-results --dry-run
      harness push results/*/busi --to me/my-results --private
      harness push results/me--my-model/* --model-card --write README.md
      harness push results/me--my-model/* --model-card --to me/my-model
    """
    if model_card:
        _card(folders, repository, repo_type or "model", private, card, dry_run)
        return
    if card is not None:
        raise click.UsageError("--write is for --model-card")
    if repository is None:
        raise click.UsageError("--to OWNER/NAME says where the results go")
    _results(folders, repository, repo_type or "dataset", private, dry_run)


def _results(
    folders: tuple[Path, ...],
    repository: str,
    kind: Literal["dataset", "model"],
    private: bool,
    dry_run: bool,
) -> None:
    from harness.console import print_table
    from harness.exchange.hub import gather, push_results

    push = gather(folders)
    rows = [(upload.name, f"{upload.size:,}") for upload in push.uploads]
    print_table(f"To the {kind} {repository}", ("file", "bytes"), rows)
    for line in push.left_out:
        click.echo(line, err=True)
    if dry_run:
        return
    click.echo(push_results(push, repository, kind, private=private))


def _card(
    folders: tuple[Path, ...],
    repository: str | None,
    kind: Literal["dataset", "model"],
    private: bool,
    card: Path | None,
    dry_run: bool,
) -> None:
    from harness.exchange.hub import push_card, updated_card

    if (repository is None) == (card is None):
        raise click.UsageError("--model-card needs either --to OWNER/NAME or --write README.md")
    if private:
        raise click.UsageError("--private is for results; a card goes into a repository that exists")
    records = _records(folders)
    if card is not None:
        from tasks.files import write_atomically

        new = updated_card(_text(card), records)
        if dry_run:
            click.echo(new, nl=False)
            return
        write_atomically(card, new)
        click.echo(card)
    elif repository is not None:
        if dry_run:  # the card on the hub is not asked for
            click.echo(updated_card("", records), nl=False)
            return
        click.echo(push_card(records, repository, kind))


def _records(folders: tuple[Path, ...]) -> list[Record]:
    from leaderboard.compare.measured import read_measured

    return [read_measured(folder).record for folder in folders]


def _text(card: Path) -> str:
    from leaderboard.record.record import RecordError

    try:
        return card.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise RecordError(f"{card}: is not UTF-8 text") from error


@click.command("export")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT_DIR…")
@click.option(
    "--format",
    "form",
    type=click.Choice(["lm-eval"]),
    default="lm-eval",
    show_default=True,
    help="For whom: lm-eval's JSON of results.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
def export_command(folders: tuple[Path, ...], form: str, output: Path | None) -> None:
    """Write the results of one model as one file that programs for lm-eval's results read.

    Accuracy stands where lm-eval has it (`results`, `acc,none`); the health scores and the verdict stand under
    the key `harness`. Without --output the file is lm-eval.json, in the one folder given, or for several in the
    working folder.
    """
    from harness.lm_eval.results import write_results

    target = output or (folders[0] / "lm-eval.json" if len(folders) == 1 else Path("lm-eval.json"))
    click.echo(str(write_results(folders, target)))
