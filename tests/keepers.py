"""A keeper that is not there: whatever a test wants answered, on the control socket of a home."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from knowngood.control.home import Home
from knowngood.control.up.doorkeeper import Doorkeeper
from knowngood.control.up.listening import listening
from knowngood.control.up.notify import Notifier
from knowngood.control.up.protocol import Answer, Doing, Running

IDLE = Running(
    process=1,
    since_ns=2,
    started_by="root",
    stopping=False,
    waiting_for="",
    doing=None,
    services=(),
    tidy_due_in=None,
    tidy_failure=None,
)
"""One that does nothing and knows of no service."""

PROTECTING = Doing(
    verb="protect",
    service="shop",
    since_ns=1,
    phase="reading",
    files=1,
    total_files=2,
    bytes=3,
    total_bytes=4,
    landed_bytes=5,
    current="file",
)
"""It makes a point."""


@contextmanager
def answering(home: Home, keeper: Running) -> Iterator[None]:
    """While the block runs, this is how the keeper of a home says that it stands."""
    with listening(home.socket, {}) as listener:
        with Doorkeeper(listener, lambda _: Answer(running=keeper), Notifier(), lambda _: True):
            yield
