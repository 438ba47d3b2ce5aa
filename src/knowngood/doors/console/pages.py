"""Templates: how a page is made from plain values. Everything that comes from outside is escaped twice over: what is
not printable is made visible, and what means something in HTML is taken its meaning."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from knowngood.core.instants import parse_when, when_text
from knowngood.core.sizes import bytes_text, span_short, span_text
from knowngood.doors.cli.words import clean, count_text, day_text

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may load and do: nothing but our own files, no script or style within the page (CSP, level 3)."""
STATIC = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""The files beside the pages, and their types."""


def render(template: str, values: Mapping[str, Any]) -> str:
    """A page, or a part of one."""
    return _environment().get_template(template).render(values)


@cache
def static(name: str) -> bytes:
    """The content of one of the files beside the pages."""
    return files("knowngood.doors.console").joinpath("static", name).read_bytes()


def static_url(name: str) -> str:
    """Its address, which changes with the content: browsers may keep it for ever."""
    return f"/static/{hashlib.sha256(static(name)).hexdigest()[:12]}/{name}"


def url(path: str, /, **query: str | list[str] | None) -> str:
    """An address with a query. Bytes that are not UTF-8 are lone surrogates in `path` and the values, as in JSON."""
    given = {name: value for name, value in query.items() if value not in (None, "", [])}
    words = urlencode(given, doseq=True, encoding="utf-8", errors="surrogateescape", quote_via=quote)
    return quote(path, safe="/", errors="surrogateescape") + ("?" + words if words else "")


def packed(component: str, path: str) -> str:
    """A component and a path in it as one word of a form, whatever bytes the path has."""
    return url("", component=component, path=path).lstrip("?")


def _visible(value: Any) -> Any:
    """Whatever a template prints: text that cannot hide, or steer, anything."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(text: str) -> Markup:
    return escape(clean(text, lines=True))


def _when(moment: str | None, fraction: int = 0) -> str:
    return "–" if moment is None else when_text(parse_when(moment), fraction=fraction)


def _day(moment: str | None) -> str:
    return "–" if moment is None else day_text(parse_when(moment))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("knowngood.doors.console"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        size=bytes_text,
        span=span_text,
        short_span=span_short,
        when=_when,
        day=_day,
        lines=_lines,
        id=lambda text: text[:8] if text else "–",
        count=count_text,
    )
    made.globals.update(url=url, static_url=static_url, zone=lambda: time.strftime("%Z (UTC%z)"))
    return made
