"""What a browser asks, and how pages go back to it. Names in addresses may be any bytes."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from knowngood.core.errors import KnowngoodError, NotFound, UsageError
from knowngood.doors.console.pages import POLICY, render

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FORM_BYTES = 1 << 20
"""The longest form that is read."""
_FIELDS = 10_000
_STATUS = {
    "usage": 400,
    "not-found": 404,
    "exists": 409,
    "locked": 423,
    "busy": 503,
    "no-space": 507,
    "unsupported": 501,
}


class Words:
    """The words of a query or a form. Bytes that are not UTF-8 are lone surrogates in them, as in paths everywhere."""

    def __init__(self, text: str) -> None:
        self._pairs = parse_qsl(
            text, keep_blank_values=True, encoding="utf-8", errors="surrogateescape", max_num_fields=_FIELDS
        )

    def one(self, name: str, default: str = "") -> str:
        """The last value of a word."""
        return next((value for key, value in reversed(self._pairs) if key == name), default)

    def all(self, name: str) -> list[str]:
        """Every value of a word."""
        return [value for key, value in self._pairs if key == name]

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 0 to `most`. Raises UsageError."""
        text = self.one(name, str(default))
        if not text.isdecimal() or len(text) > 12 or int(text) > most:
            raise UsageError(f"'{name}' is to be a number from 0 to {most}")
        return int(text)


def query(request: Request) -> Words:
    """The query of a request. Raises UsageError."""
    return _words(request.scope["query_string"])


async def form(request: Request) -> Words:
    """The form that a request brings. Raises UsageError when it is too long."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > FORM_BYTES:
            raise UsageError("that is more than a form may have")
    return _words(body)


def _words(text: bytes) -> Words:
    try:
        return Words(text.decode("ascii"))
    except ValueError as wrong:
        raise UsageError(f"the address or the form cannot be read: {wrong}") from None


def service_in(request: Request) -> str:
    """The name of the service in the path of a request."""
    return request.path_params["service"]


def page(template: str, values: Mapping[str, object], status: int = 200) -> Response:
    """A page as an answer."""
    text = render(template, values).encode("utf-8", "backslashreplace")
    return HTMLResponse(text, status, headers=HEADERS)


def failure(wrong: KnowngoodError, common: Mapping[str, object], *, part: bool = False) -> Response:
    """What failed, why, and what to do."""
    template = "failure_part.html" if part else "failure.html"
    return page(template, {**common, "wrong": wrong, "place": ""}, _STATUS.get(wrong.code, 500))


def nothing_there(path: str) -> NotFound:
    """There is no page at this address."""
    return NotFound(f"there is no page '{path}'", hint="begin with the list of all services")
