"""Who may come in. `knowngood serve` prints a key once; whoever has it signs in, and gets a session of the browser.

A form changes something only with the session's token in it, so no other page can send it (CSRF).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import Request

from knowngood.core.errors import UsageError
from knowngood.doors.console.asking import Words

COOKIE = "knowngood"
_LASTS = 12 * 3600.0
_SESSIONS = 64
_TRIES = 10
_TRIES_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has signed in."""

    name: str
    token: str

    def require(self, form: Words) -> None:
        """Raise UsageError when a form does not come from a page of this session."""
        if not hmac.compare_digest(form.one("token").encode("utf-8", "replace"), self.token.encode()):
            raise UsageError("the form is not of this session; nothing was done", hint="load the page again")


class Tries:
    """How often somebody may guess."""

    def __init__(self) -> None:
        self._failed: deque[float] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[Callable[[], None]]:
        """One try; what is yielded notes that it failed. Raises UsageError when too many have."""
        now = time.monotonic()
        with self._lock:
            while self._failed and now - self._failed[0] > _TRIES_SECONDS:
                self._failed.popleft()
            if len(self._failed) >= _TRIES:
                raise UsageError("that was wrong too often", hint="wait a minute, then try again")
            yield lambda: self._failed.append(now)


class Gate:
    """The key and the sessions; both are forgotten when the server ends."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._sessions: dict[str, tuple[Person, float]] = {}  # hash of the cookie → who, and until when
        self.tries = Tries()

    def person(self, request: Request) -> Person | None:
        """Who asks; None when nobody has signed in."""
        found = self._sessions.get(_name(request.cookies.get(COOKIE, "")))
        return found[0] if found and time.monotonic() < found[1] else None

    def enter(self, key: str) -> str | None:
        """A new session's cookie; None when the key is wrong. Raises UsageError when it was wrong too often."""
        with self.tries.one() as failed:
            if not hmac.compare_digest(key.strip().encode("utf-8", "replace"), self._key):
                failed()
                return None
            cookie = secrets.token_urlsafe(32)
            for old in list(self._sessions)[: len(self._sessions) - _SESSIONS + 1]:
                del self._sessions[old]
            until = time.monotonic() + _LASTS
            self._sessions[_name(cookie)] = (Person("", secrets.token_urlsafe(32)), until)
            return cookie

    def leave(self, request: Request) -> None:
        """End the session."""
        self._sessions.pop(_name(request.cookies.get(COOKIE, "")), None)


def _name(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
