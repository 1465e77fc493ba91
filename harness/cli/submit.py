"""`harness submit`: put a result on a board."""

from __future__ import annotations

from pathlib import Path

import click


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
