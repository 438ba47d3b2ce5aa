"""A folder that is journalled by a real server over a real mount; the vault is in memory, the log is replayed there."""

from __future__ import annotations

import os
import signal
from contextlib import closing, suppress
from pathlib import Path
from unittest.mock import patch

from knowngood.core.ids import Name
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import PageSource
from knowngood.kinds.files.journal import line
from knowngood.kinds.files.journal.follower import JournalFollower
from knowngood.kinds.files.journal.line import Line, ServerGone
from knowngood.testing.memory import MemoryPages, MemoryScratch
from knowngood.tree.replay import Replay, Until
from tests.mounted import until
from tests.unit.kinds_files.following import Followed, short
from tests.unit.tree.replaying import expand

State = dict[bytes, tuple[object, ...]]
"""What is in a tree, by path; content last."""


class Journalled(Followed):
    """A folder `tree` with a server over it, and a follower that reads its journal."""

    follower: JournalFollower

    def follow(self) -> JournalFollower:
        """Begin to follow."""
        path, state = os.fsencode(os.path.realpath(self.tree)), str(self.base / "state")
        spec = ComponentSpec(name="c", kind="files", path=str(self.tree), exclude=self.exclude, capture="journal")
        self.component = spec
        return JournalFollower(spec, path, state, self.limits, self.clock)

    def settle(self) -> None:
        """Follow until every write becomes a record."""
        if not self.follower.standing.based:
            self.checkpoint()
        for _ in range(10):
            self.tick()
            if self.follower.standing.level == "journal":
                return
        raise AssertionError(self.follower.standing)

    def server(self) -> int:
        """The process that serves."""
        found = Line(str(self.base / "state" / "journal"))
        try:
            return int(found.ask("state")["process"])
        finally:
            found.close()

    def renewals(self) -> object:
        """How often the server's process became another program."""
        with closing(Line(str(self.base / "state" / "journal"))) as found:
            return found.ask("state")["renewals"]

    def renew(self) -> bool:
        """Let the server go on as the same program, executed anew; whether it does."""
        before = self.renewals()
        with closing(Line(str(self.base / "state" / "journal"))) as found:
            renewed = found.renew()
        assert (self.renewals() != before) == renewed
        return renewed

    def bound(self, total: int) -> None:
        """Let the server's journal be this long at most: it is started again."""
        self.end()
        with patch.object(line, "TOTAL", total):
            self.follower = self.follow()
        self.settle()

    def dies(self) -> None:
        """The keeper goes without a word."""
        with patch.object(self.follower._below, "ask", side_effect=ServerGone):
            self.follower.close()

    def kill(self) -> None:
        """The server dies at once."""
        process = self.server()
        os.kill(process, signal.SIGKILL)
        until(lambda: not _is_alive(process))

    def end(self) -> None:
        """Follow no longer; whatever happened, the mount goes, and the server ends."""
        process = 0
        with suppress(ServerGone):
            process = self.server()
        self.follower.close()
        until(lambda: not _is_alive(process))

    def states(self, root: bytes, source: PageSource) -> State:
        """What is in a tree."""
        return self._all(root, source)

    def at(self, *, base: int = -1, time_ns: int | None = None, sequence: int | None = None) -> State:
        """What replay comes to up to a moment, or a record."""
        root, position = self.roots[base]
        replay = Replay(Name(root), MemoryPages(self.vault), MemoryScratch(), expand, position)
        replay.run(self.log[position:], Until(time_ns=time_ns, sequence=sequence))
        found, source = replay.state()
        return self._all(found, source)


def _is_alive(process: int) -> bool:
    """Whether any thread of it is: the first one may be dead while another still has its files open."""
    return any(_runs(each) for each in Path(f"/proc/{process}/task").glob("*/stat"))


def _runs(stat: Path) -> bool:
    try:
        return stat.read_text("ascii").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def differing_states(found: State, truth: State) -> list[object]:
    """What is not as it was."""
    wrong = sorted(path for path in found.keys() | truth.keys() if found.get(path) != truth.get(path))
    return [(path, short(found.get(path)), short(truth.get(path))) for path in wrong]
