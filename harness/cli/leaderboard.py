"""`harness leaderboard` and `harness submit`: keep a board, and put a result on one."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli.parsing import (
    ASSUME_YES,
    DATA_DIR,
    DEVICE,
    MODEL_ARGS,
    OFFLINE,
    command_line,
    included_with_a_word,
)
from leaderboard.board.json_schema import KINDS

_BOARD = click.argument("board_path", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))


@click.group("leaderboard")
def leaderboard() -> None:
    """Keep a board: begin, add tasks, verify, run again, build."""


@leaderboard.command("init")
@_BOARD
@click.option("--title", default="Leaderboard", show_default=True, help="Shown on the page.")
@click.option(
    "--unofficial",
    is_flag=True,
    help="Take data that are not byte for byte the published ones as well; they are marked.",
)
def init(board_path: Path, title: str, unofficial: bool) -> None:
    """Begin a board in DIR."""
    from leaderboard.board.folder import init_board

    init_board(board_path, title=title, official=not unofficial)
    click.echo(board_path)


@leaderboard.command("add-task")
@_BOARD
@click.argument("tasks", nargs=-1, required=True, metavar="TASK…")
@DATA_DIR
@OFFLINE
@ASSUME_YES
def add_task_command(
    board_path: Path, tasks: tuple[str, ...], data_dir: Path | None, offline: bool, assume_yes: bool
) -> None:
    """Let results on tasks enter the board: list their images, from your copy of the data.

    TASK is a name or a task YAML. Of every image the list holds id, label, group and a hash of its pixels, and no
    pixel. Entries must be about these images.
    """
    from harness.console import Console
    from harness.exchange.board_tasks import listed_images
    from leaderboard.board.folder import add_task, open_board
    from tasks import catalog

    board, console = open_board(board_path), Console()
    for name in catalog.expand(tasks, included_with_a_word(())):
        task = catalog.load(name)
        images = listed_images(
            task, data_dir=data_dir, offline=offline, assume_yes=assume_yes, progress=console.step
        )
        for path in add_task(board, task, images):
            click.echo(path)
        kind = "official" if images.official else "unofficial"
        console.say(f"{task.id} version {task.version}: {len(images.images)} images, {kind} data")


@leaderboard.command("verify")
@_BOARD
@click.argument("entries", nargs=-1, metavar="[ENTRY…]", type=click.Path(path_type=Path))
@click.option(
    "--no-rerun",
    is_flag=True,
    help="Refuse entries that are marked as run again, as those of a pull request must not be.",
)
@click.option(
    "--before",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The board as it was: refuse an entry that would replace one there and is no newer.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def verify_command(
    board_path: Path, entries: tuple[Path, ...], no_rerun: bool, before: Path | None, as_json: bool
) -> int:
    """Compute every score of a board's entries again.

    Without ENTRY all are checked; a wrong one does not keep the others from being checked.

    \b
    Exit status: 0 every entry is right; 1 one is not; 2 bad usage.
    """
    from leaderboard.board.folder import open_board
    from leaderboard.record.record import RecordError
    from leaderboard.verify.verify import verify

    board = open_board(board_path)
    try:
        named = board.named_entries(entries) if entries else None
    except RecordError as error:
        raise click.UsageError(str(error)) from error
    found = verify(
        board,
        named,
        rerun=not no_rerun,
        before=None if before is None else open_board(before),
    )
    wrong = [one for one in found if one.problem is not None]
    if as_json:
        rows = [{"entry": one.folder, "state": one.state, "problem": one.problem} for one in found]
        click.echo(json.dumps({"board": str(board_path), "entries": rows}, indent=2, ensure_ascii=False))
    else:
        for one in found:
            click.echo(f"{one.folder}: {one.state if one.problem is None else f'REFUSED: {one.problem}'}")
        click.echo(f"{len(found)} checked, {len(wrong)} refused")
    return 1 if wrong else 0


@leaderboard.command("build")
@_BOARD
def build_command(board_path: Path) -> None:
    """Write leaderboard.json and the page (index.html) from the entries.

    The entries' files must be those that were checked when they were submitted; `verify` computes scores again.
    """
    from leaderboard.board.folder import open_board
    from leaderboard.page.build import build

    for path in build(open_board(board_path)):
        click.echo(path)


@leaderboard.command("rerun")
@click.argument("entry", metavar="ENTRY", type=click.Path(path_type=Path, file_okay=False))
@click.option("--model", help="How the model is named here, as in `harness eval --models`.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("rerun-results"),
    show_default=True,
    help="Where the second run's results go.",
)
@DATA_DIR
@DEVICE
@MODEL_ARGS
@OFFLINE
@ASSUME_YES
@click.option("--trust-remote-code", is_flag=True, help="Run code that the model brings along.")
def rerun_command(
    entry: Path,
    model: str | None,
    output: Path,
    data_dir: Path | None,
    device: str,
    model_args: dict[str, str],
    offline: bool,
    assume_yes: bool,
    trust_remote_code: bool,
) -> None:
    """Evaluate an entry's model again, and mark the entry `rerun` where it answers the same.

    ENTRY is DIR/entries/<model>/<task>. At least 95% of the answers must be the same, of the texts and of further
    questions too, accuracies not differ significantly, those of floors neither, and no layer's probe by more than
    5 points; of a reference, which is trained anew, the accuracy alone.

    \b
    Exit status: 0 the entry is marked; 1 it cannot be run, or answers otherwise.
    """
    from harness.console import Console
    from harness.exchange.rerun import rerun
    from harness.plan.options import EvalOptions
    from leaderboard.board.entry import ENTRIES
    from leaderboard.board.folder import open_board

    folder = entry.resolve()
    if not folder.is_dir() or folder.parent.parent.name != ENTRIES:
        raise click.UsageError(f"{entry}: is no entry; name DIR/{ENTRIES}/<model>/<task>")
    options = EvalOptions(
        output=output,
        data_dir=data_dir,
        device=device,
        model_args=model_args,
        offline=offline,
        assume_yes=assume_yes,
        trust_remote_code=trust_remote_code,
        command=command_line(),
    )
    found = rerun(folder, open_board(folder.parents[2]), model, options, Console())
    click.echo(
        f"rerun: {100 * found.agreement:.1f}% of the answers are the same, accuracy {100 * found.accuracy:.1f}%"
    )


@leaderboard.command("schema")
@click.argument("kind", type=click.Choice(KINDS))
def schema_command(kind: str) -> None:
    """Print the JSON Schema of record.json, of a line of samples.jsonl or probes.jsonl, or of entry.json."""
    from leaderboard.board.json_schema import schema_text

    click.echo(schema_text(kind), nl=False)


@click.command("submit")
@click.argument("folder", metavar="RESULT_DIR", type=click.Path(path_type=Path))
@click.option(
    "--board",
    "board_path",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The board's folder, such as leaderboard/ in a clone of this repository.",
)
@click.option("--replace", is_flag=True, help="Take the place of an older result of this model and task.")
def submit_command(folder: Path, board_path: Path, replace: bool) -> None:
    """Verify a result and write it as an entry of a board.

    Every score is computed again from samples.jsonl and probes.jsonl; a result that is partial, of another version
    of its task, on other images, or not what its lines say is refused, and the message names the field. RESULT_DIR
    is only read. The entry is one folder, entries/<model>/<task>: add it to a pull request.

    \b
    Exit status: 0 the entry is written; 1 the result is refused; 2 bad usage.

    \b
    Example:
      harness submit results/zoo--llava-healthy/phantom --board leaderboard
    """
    from leaderboard.board.folder import open_board
    from leaderboard.verify.submit import submit

    click.echo(submit(folder, open_board(board_path), replace=replace))
