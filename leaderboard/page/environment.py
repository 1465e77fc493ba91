"""What every page shares: its frame, style, policy, and how a string of a record comes into it.

A page is one self-contained HTML file: no outside request, every string escaped and of bounded length.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

import jinja2
from markupsafe import Markup, escape

from leaderboard import words
from leaderboard.figures import theme

_BREAK = re.compile("(?<=[/@_])|(?<=[a-z0-9])(?=[A-Z][a-z])")  # where a long name may go on in the next line


def render(package: str, name: str, **values: object) -> str:
    """Return a page as HTML text; the same values give the same bytes.

    Args:
        package: whose folder `templates` holds `<name>.html`, `<name>.css` and, where there is one, `<name>.js`.
        name: of the page.
        **values: for the template.
    """
    folders = [resources.files(package) / "templates", resources.files("leaderboard.page") / "shared"]

    def read(file: str) -> str | None:
        found = next((folder / file for folder in folders if (folder / file).is_file()), None)
        return None if found is None else found.read_text(encoding="utf-8")

    # The project's own files: they hold no string of a record, so they go into the page as they are.
    parts = (theme.page_style(), read("shared.css"), read(f"{name}.css"))
    style, script = Markup("\n".join(map(str, parts)).rstrip()), read(f"{name}.js")
    script = None if script is None else Markup(script.rstrip())
    policy = _policy({"style-src": style, "script-src": script})
    frame = {"style": style, "script": script, "policy": policy, "sprite": Markup(theme.sprite())}
    return _environment(jinja2.FunctionLoader(read)).get_template(f"{name}.html").render(**frame, **values)


def _policy(own: dict[str, str | None]) -> str:
    """Return the page's content security policy: nothing is loaded, its own style and script alone run."""
    sources = [f"{name} 'sha256-{_hash(content)}'" for name, content in own.items() if content is not None]
    return "; ".join(
        ["default-src 'none'", *sources, "img-src data:", "base-uri 'none'", "form-action 'none'"]
    )


def _hash(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")


def _environment(loader: jinja2.BaseLoader) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=loader,
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
        "short": lambda text: words.plain(text, words.NAME),
        "name": _name,
        "block": lambda text: escape(words.plain(text.strip(), words.LONG)),
    }
    environment.globals["wording"] = words
    return environment


def _name(text: str) -> Markup:
    """Write a name, kept apart from the direction of the text around it, that may break after signs and words."""
    shown = str(escape(words.plain(text, words.NAME)))
    return Markup(f"<bdi>{_BREAK.sub('<wbr/>', shown)}</bdi>")  # escaped in the line above


def _finalize(value: object) -> object:
    """Make every string plain that goes into the page, from wherever it comes."""
    return words.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
