"""The board as one page."""

from __future__ import annotations

from leaderboard.board.standing import Board
from leaderboard.page import view
from leaderboard.page.environment import render


def render_board(board: Board) -> str:
    """Return the board's page as HTML text; the same board gives the same bytes."""
    return render(
        "leaderboard.page",
        "board",
        view=view.view_of(board),
        board=board,
        conditions=view.CONDITIONS,
        short_conditions=view.SHORT_CONDITIONS,
        page_key=view.page_key,
    )
