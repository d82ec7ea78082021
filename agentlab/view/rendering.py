"""From a page's model to HTML. Everything is escaped, and what cannot be seen is spelt out.

Autoescaping is on for every template, and every text that one shows passes `clean` first: names
and instructions come from elsewhere, and a mark of direction or a character without a shape must
not change what a reader believes to read. Nothing here knows records or HTTP.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers.python import PythonLexer

from agentlab.analysis.figures import count
from agentlab.analysis.foreign import clean
from agentlab.types import Frozen
from agentlab.version import __version__
from agentlab.view.addresses import Addresses
from agentlab.view.scopes import shown, spelt

HERE = Path(__file__).parent
STATIC = HERE / "static"
SCRIPTS = ("theme.js", "uplot/uPlot.iife.min.js", "live.js", "charts.js", "keys.js")
ICON = "icon.svg"
STYLES = ("uplot/uPlot.min.css", "view.css", "page.css")


class Frame(Frozen):
    """What surrounds a page."""

    title: str
    section: str
    """Which part of the navigation it belongs to."""
    run_id: str = ""
    """The run that the navigation leads through; empty where there is none."""
    of_run: bool = False
    """Whether the page is of that run."""
    practised: bool = True
    """Whether that run has rounds and tasks; one of an agent has attempts alone."""
    live: str = ""
    """Where its events come from; empty for a page that stays as it is."""
    serial: int = 0
    """The last event that is in it."""
    form: str = ""
    """What a form must carry."""
    standalone: bool = False
    """Whether it is a part of a file that holds everything."""
    place: str = ""
    """Its id in that file."""
    first: bool = False
    """Whether the file opens with it."""
    waiting: int | None = None
    """What waits for a person's verdict; None where nothing ever can."""


class Renderer:
    """Templates with addresses of one kind."""

    def __init__(self, addresses: Addresses) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        told: dict[str, Any] = self._environment.globals  # typed as what jinja itself puts there
        told |= {"to": addresses.to, "blob": addresses.blob, "count": count, "version": __version__}
        self._environment.filters.update(
            when=_when, python=_python, whole=_whole, spelt=spelt, whose=shown
        )

    def page(self, template: str, frame: Frame, page: object) -> str:
        """A page whole, or the part of it that a file takes."""
        around = "part.html" if frame.standalone else "frame.html"
        return self._environment.get_template(template).render(
            around=around, frame=frame, page=page
        )

    def text(self, template: str, **values: Any) -> str:
        """A template of its own."""
        return self._environment.get_template(template).render(**values)


@cache
def static(name: str) -> bytes:
    """A file that ships with the page; its name is one of ours and never a request's."""
    return (STATIC / name).read_bytes()


def inline_hash(source: str) -> str:
    """As a content-security policy names a script or style that stands in the page."""
    return f"'sha256-{base64.b64encode(sha256(source.encode()).digest()).decode()}'"


def _shown(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return clean(value) if isinstance(value, str) else "" if value is None else value


def _when(value: datetime | str | None) -> Markup:
    """A time, UTC."""
    if not value:
        return Markup("")
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return Markup("{}").format(clean(str(value)))
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}"
    )


def _python(source: str) -> Markup:
    """Source with its parts in classes; the highlighter escapes what it is given."""
    formatter = HtmlFormatter[str](nowrap=True, classprefix="py-")
    return Markup(highlight(clean(source), PythonLexer(stripnl=False), formatter))


def _whole(value: float) -> str:
    """`1,234`, and `0.25` where there is a fraction."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"
