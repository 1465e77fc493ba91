"""Verify a board, as `harness leaderboard verify` does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from leaderboard.board.folder import open_board
from leaderboard.verify.verify import Verified
from leaderboard.verify.verify import verify as verify_entries


def verify(
    board: str | Path,
    entries: str | Path | Iterable[str | Path] = (),
    *,
    rerun: bool = True,
    before: str | Path | None = None,
) -> tuple[Verified, ...]:
    """Compute every score of a board's entries again; a wrong one does not keep the others from being checked.

    Args:
        board: the board's folder.
        entries: their folders, named from here or from the board's folder; all by default.
        rerun: False refuses entries that are marked as run again.
        before: the board as it was: an entry that would replace one there and is no newer is refused.

    Returns:
        What came of each entry: its `folder`, its `state`, and the `problem`, None where nothing is wrong.

    Raises:
        RecordError: there is no such board or entry.

    Examples:
        >>> import harness
        >>> harness.verify("leaderboard", "entries/reference--vit/busi")
        (Verified(folder='entries/reference--vit/busi', problem=None, state='recomputed'),)
    """
    opened = open_board(Path(board).expanduser())
    named = [Path(one) for one in ([entries] if isinstance(entries, str | Path) else entries)]
    return verify_entries(
        opened,
        opened.named_entries(named) if named else None,
        rerun=rerun,
        before=None if before is None else open_board(Path(before).expanduser()),
    )
