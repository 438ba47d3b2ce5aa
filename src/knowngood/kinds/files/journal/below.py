"""The follower's hold on the server: there is one, what lies below its mount can be read, and writers can be held."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from knowngood.core.errors import Busy
from knowngood.core.model import ComponentSpec
from knowngood.kinds.files.journal.line import Line, ServerGone, find_server

HOLD_SECONDS = 5.0
"""So long writers wait at most while what they wrote last is read."""


@dataclass(slots=True)
class Held:
    """All writers are held."""

    entry: int  # the number after the last entry
    kept: bool = False  # whether they were, to the end


class Below:
    """One component's server, started anew when it is gone, and its folder below the mount: `root`."""

    def __init__(self, component: ComponentSpec, path: bytes, state_dir: str) -> None:
        """Finds the server, or starts one. Raises Unsupported, Busy, KnowngoodError."""
        self._component, self._path, self._state_dir = component, path, state_dir
        self._line: Line | None = None
        self.entry = -1
        self.mounted = True  # as far as is known
        self.root = -1
        self._find()

    @property
    def through(self) -> bytes:
        """A path that leads below the mount, for this process."""
        return os.fsencode(f"/proc/self/fd/{self.root}")

    def ask(self, what: str) -> dict[str, object]:
        """One question to the server. Raises ServerGone."""
        if self._line is None:
            raise ServerGone
        return self._line.ask(what)

    def is_lost(self) -> bool:
        """Whether nothing is journalled any more. A server that is gone is started again: what happens meanwhile is a
        gap. Raises as `find_server` does."""
        try:
            state = self.ask("state")
            self.mounted = bool(state.get("mounted", True))
            return bool(state["lost"])
        except ServerGone:
            self._hang_up()
        self._find()
        return False

    def _find(self) -> None:
        line = find_server(self._component, self._path, self._state_dir)
        try:
            root = line.root()
        except ServerGone:
            line.close()
            raise Busy(f"the journal of {self._component.path} ended at once", hint="it is tried again") from None
        if self.root < 0:
            self.root = root
        else:
            os.dup2(root, self.root, inheritable=False)
            os.close(root)
        self._line = line

    @property
    def is_held(self) -> bool:
        """Whether writers were asked to wait, and not told to go on."""
        return self.entry >= 0

    def hold(self, seconds: float) -> None:
        """Let all writers wait, for so long at most; `entry` is then the number after the last entry. Raises Busy."""
        if self._line is None:
            raise Busy("the journal's server is gone", hint="it is tried again")
        try:
            self.entry = self._line.hold(seconds)
        except ServerGone:
            raise Busy("the journal's server is gone", hint="it is tried again") from None

    def release(self) -> bool:
        """Let them go on; whether they waited until now."""
        held, self.entry = self.is_held, -1
        if held and self._line is not None:
            with suppress(ServerGone):
                return self._line.release()
        return False

    @contextmanager
    def held(self, pull_to: Callable[[int], None]) -> Iterator[Held]:
        """Within it all writers are held, and all that they did is known; they may have been before. Raises Busy."""
        before = self.is_held
        if not before:
            self.hold(HOLD_SECONDS)
        hold = Held(self.entry)
        try:
            pull_to(hold.entry)
            yield hold
        finally:
            if before:
                with suppress(ServerGone):
                    hold.kept = bool(self.ask("state")["holding"])
            else:
                hold.kept = self.release()

    def end(self) -> None:
        """Let it be unmounted, unless somebody uses it: then the server goes on."""
        with suppress(ServerGone):
            try:
                self.ask("stop")
            except ServerGone:  # this line has ended; the server may have gone on as another program
                self._hang_up()
                self._line = Line(os.path.join(self._state_dir, "journal"))
                self.ask("stop")

    def close(self) -> None:
        """Let go of it; the server goes on."""
        self._hang_up()
        os.close(self.root)

    def _hang_up(self) -> None:
        self.entry = -1
        if self._line is not None:
            self._line.close()
            self._line = None
