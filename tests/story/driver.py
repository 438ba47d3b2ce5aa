"""The program in a process of its own, in which something happens at a moment that a test has chosen.

    python -m tests.story.driver EVENT PREFIX NUMBER WORDS…

When the NUMBER-th object whose key begins with PREFIX has been put into the vault, the process does EVENT:
`interrupt` is Ctrl-C; `wait` says "here" on standard output and goes on when its standard input is closed.
Progress is noted after every mebibyte, not after every gibibyte.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from knowngood.control.plugins import Plugins
from knowngood.core.buffers import Buffer
from knowngood.doors.cli import app
from knowngood.kinds.files import FilesKind
from knowngood.kinds.files.limits import Limits
from knowngood.stores.disk import DiskStore


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _wait() -> None:
    os.write(1, b"here\n")
    os.read(0, 1)


EVENTS = {"interrupt": _interrupt, "wait": _wait, "nothing": lambda: None}


class EventStore(DiskStore):
    """Counts what is put."""

    event, prefix, left = "nothing", "", 0

    def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """Create an object; then the event may be due."""
        super().put(key, parts)
        if key.startswith(self.prefix):
            EventStore.left -= 1
            if EventStore.left == 0:
                EVENTS[self.event]()


def main() -> None:
    """Run the words."""
    EventStore.event, EventStore.prefix, number = sys.argv[1:4]
    EventStore.left = int(number)
    limits = Limits(record_bytes=1 << 20)
    plugins = Plugins(store=EventStore, kinds=lambda: {"files": FilesKind(limits)})
    sys.argv[1:] = sys.argv[4:]
    app.main(plugins)


if __name__ == "__main__":
    main()
