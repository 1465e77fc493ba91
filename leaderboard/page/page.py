"""The board as one self-contained HTML page: no outside request, every string escaped and of bounded length."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

import jinja2
from markupsafe import Markup, escape

from leaderboard import words
from leaderboard.board.standing import Board
from leaderboard.figures.layers import SERIES, main_probes, series, site_order
from leaderboard.page import plain, view
from leaderboard.record.parts import Interval
from leaderboard.record.record import Record

_BREAK = re.compile("(?<=[/@_])|(?<=[a-z0-9])(?=[A-Z][a-z])")  # where a long name may go on in the next line
_TEMPLATES = resources.files("leaderboard.page").joinpath("templates")


def render_board(board: Board) -> str:
    """Return the board's page as HTML text; the same board gives the same bytes."""
    environment = _environment()
    # The project's own files: they hold no string of a record, so they go into the page as they are.
    style, script = (Markup(_read(name).rstrip()) for name in ("board.css", "board.js"))
    return environment.get_template("board.html").render(
        view=view.view_of(board), board=board, style=style, script=script, policy=_policy(style, script)
    )


def _policy(style: str, script: str) -> str:
    """Return the page's content security policy: nothing is loaded, this style sheet and this script alone run."""
    sources = {"style-src": style, "script-src": script}
    own = [f"{name} 'sha256-{_hash(content)}'" for name, content in sources.items()]
    return "; ".join(["default-src 'none'", *own, "img-src data:", "base-uri 'none'", "form-action 'none'"])


def _hash(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")


def _read(name: str) -> str:
    return _TEMPLATES.joinpath(name).read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {
        "percent": words.percent,
        "interval": words.interval,
        "ends": words.ends,
        "points": words.points,
        "number": words.number,
        "p": words.p_value,
        "size": words.size,
        "short": lambda text: plain.plain(text, plain.NAME),
        "name": _name,
        "block": lambda text: escape(plain.plain(text.strip(), plain.LONG)),
    }
    environment.globals |= {
        "wording": words,
        "conditions": view.CONDITIONS,
        "short_conditions": view.SHORT_CONDITIONS,
        "page_key": view.page_key,
    }
    environment.globals |= {"layer_table": layer_table}
    return environment


def _name(text: str) -> Markup:
    """Write a name, kept apart from the direction of the text around it, that may break after signs and words."""
    shown = str(escape(plain.plain(text, plain.NAME)))
    return Markup(f"<bdi>{_BREAK.sub('<wbr/>', shown)}</bdi>")  # escaped in the line above


def _finalize(value: object) -> object:
    """Make every string plain that goes into the page, from wherever it comes."""
    return plain.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def layer_table(record: Record) -> tuple[tuple[str, ...], list[tuple[str, bool, list[Interval | None]]]]:
    """Return the curves in numbers: a column for each, and a row for each site, "consumed" marked."""
    probes = main_probes(record)
    names = [name for name in SERIES if any(series(p) == name for p in probes)]
    found = {(p.site, series(p)): p.balanced_accuracy for p in probes}
    consumed = {p.site for p in probes if p.consumed}
    sites = [f"{module}.{layer:02d}" for module, layer in site_order(probes)]
    rows = [(site, site in consumed, [found.get((site, name)) for name in names]) for site in sites]
    return tuple(SERIES[name] for name in names), rows
