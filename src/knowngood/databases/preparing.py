"""A base that is read beside (port Beside): by a thread of somebody else, and used by whoever makes checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from knowngood.core.errors import KnowngoodError, NotYet
from knowngood.core.ports import CaptureContext
from knowngood.databases.bases import Base, still_holds
from knowngood.databases.feed import ChainBroken, Feed


class Preparation:
    """What is read, or was. Only `prepare` is called from another thread; it gives its work away by one assignment."""

    def __init__(self, make: Callable[[CaptureContext], Base]) -> None:
        self._make = make
        self._ready: Base | None = None
        self._failure: KnowngoodError | None = None
        self.is_used = False  # whether bases are made beside
        self.is_running = False

    def begin(self) -> None:
        """Bases are made beside from now on."""
        self.is_used = True

    def prepare(self, context: CaptureContext, holds: Callable[[], None]) -> None:
        """Read one; see the port."""
        self._failure, self.is_running = None, True
        try:
            made = self._make(context)
            made.holds = holds
            self._ready = made
        except KnowngoodError as wrong:
            self._failure = wrong
            raise
        finally:
            self.is_running = False

    # --------------------------------------------------------------------------------------------- from the other side

    def keep_up(self, feed: Feed) -> None:
        """What came since it was read goes into it, so that nothing piles up. Raises as `take`, OSError."""
        base = None if self.is_running else self._ready
        if base is None:
            return
        try:
            base.advance(feed)
        except ChainBroken:
            self.drop()
        except OSError:  # the feed does not give it again
            self.drop()
            raise
        except KnowngoodError:
            if base.spare is None:
                raise

    def at(self, position: bytes) -> Base | None:
        """The one that is ready, brought to where the first feed is; None when there is none, or it is not there."""
        base = None if self.is_running else self._ready
        if base is None or base.spare is None:
            return None
        if not still_holds(base):
            self.drop()
            return None
        try:
            return base if base.reaches(position) else None
        except ChainBroken:
            self.drop()
        except KnowngoodError:  # the server is away: the next checkpoint may have it
            pass
        return None

    @property
    def unready(self) -> KnowngoodError | None:
        """Why there is no base to begin with; None when there is one."""
        if self.is_running:
            return NotYet("a base is being read")
        if self._ready is None:
            return self._failure or NotYet("a new base is needed, and will be read")
        return None

    def begun(self, feed: Feed) -> Base:
        """A base that the log begins anew with, brought up to now. Raises NotYet, why it could not be read, and as
        `take`."""
        if (why := self.unready) is not None:
            raise why
        base = self._ready
        assert base is not None
        try:
            if still_holds(base) and (base.spare is None or feed.resume(base.position)):
                base.close()
                base.advance(feed)
                return base
        except ChainBroken:
            pass
        self.drop()
        raise NotYet("the base that was read cannot be used any more: another one is read")

    def used(self, base: Base) -> None:
        """A checkpoint of it is committed."""
        if base is self._ready:
            self.drop()

    def drop(self) -> None:
        """It is not used any more."""
        base, self._ready = self._ready, None
        if base is not None:
            with suppress(KnowngoodError):
                base.close()
