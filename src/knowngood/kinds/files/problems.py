"""What could not be read as it should: all of it counted, the first thousand listed."""

from __future__ import annotations

import errno
import os

from knowngood.core.errors import Busy
from knowngood.core.model import Problem

LISTED = 1000
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
VANISHED = "vanished while being read"
CHANGED = "changed while being read"


def path_of(directory: bytes, name: bytes) -> bytes:
    """A directory's key and a name in it → the path below the component's root, as `Entry.path` spells it."""
    return (directory + b"\0" + name if directory else name).replace(b"\0", b"/")


class Problems:
    """Gathers problems while the work goes on."""

    def __init__(self) -> None:
        self.listed: list[Problem] = []
        self.count = 0

    def add(self, path: bytes, reason: str) -> None:
        """Note one problem. `path` is below the component's root."""
        self.count += 1
        if len(self.listed) < LISTED:
            self.listed.append(Problem(path or b".", reason))

    def failed(self, path: bytes, wrong: OSError) -> None:
        """Note what the operating system said. Raises Busy when it is the system that is short of something."""
        if wrong.errno in _SHORT:  # then nothing more could be read, and every file left would be a problem
            reason = os.strerror(wrong.errno or 0).lower()
            raise Busy(f"the system is short of resources: {reason}", hint="look at: ulimit -n; free -m") from None
        gone = isinstance(wrong, FileNotFoundError)
        self.add(path, VANISHED if gone else os.strerror(wrong.errno or 0).lower())
