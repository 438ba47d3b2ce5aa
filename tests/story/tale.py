"""A shop whose folder is recorded: what happens in it, and how it looked in between."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from knowngood.core.instants import iso_text
from knowngood.testing.clock import FakeClock
from knowngood.testing.trees import Picture, picture
from tests.recorder import Recorder
from tests.user import User


@dataclass
class Tale:
    """A shop whose folder is recorded. `seen` are pictures of it, and the moments just after."""

    user: User
    data: Path
    recorder: Recorder
    clock: FakeClock
    seen: list[tuple[str, Picture]] = field(default_factory=list)

    def look(self) -> str:
        """Keep how it looks now; the words for this moment."""
        self.clock.move(1)
        at = iso_text(self.clock.now_ns)
        self.clock.move(1)
        self.seen.append((at, picture(self.data)))
        return at


def live(tale: Tale) -> None:
    """An hour in which much happens, with a look after each."""
    does, clock = tale.recorder, tale.clock
    tale.look()
    does.write("ledger", b"altered in the middle" * 1000, 1 << 20)
    does.write("note", b"and others")
    tale.look()
    clock.move(60)
    does.create("sub/new", b"new" * 5000)
    does.mkdir("sub/deep")
    does.rename("sub/old", "sub/deep/older")
    does.chmod("note", 0o600)
    tale.look()
    does.commits()
    clock.move(60)
    does.truncate("ledger", 1000)
    does.unlink("note")
    does.unlink("sub/new")
    does.rename("sub/deep", "moved")
    tale.look()
    does.commits()
