"""The follower that records: about once a second, what changed in a component goes into its log in the vault."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator

from knowngood.control.plugins import Plugins
from knowngood.control.schedule import Now
from knowngood.control.up.followers import Followed
from knowngood.control.up.protocol import BaseNow, FollowerState, Told, Waiting, told
from knowngood.control.up.waking import clock
from knowngood.control.workshop import Workshop
from knowngood.core.errors import KnowngoodError, StoreFailed
from knowngood.core.instants import SECOND
from knowngood.core.ports import Standing
from knowngood.flow.beside import BaseReading
from knowngood.flow.follow import Following, Ticked
from knowngood.flow.parts import Parts
from knowngood.vault.fold import FOLD_FROM
from knowngood.vault.spool import Spool

_SLOWLY = StoreFailed("the vault is slow")
TICK = 1.0
"""Seconds between two looks: a timer costs less than waking for every change."""
BUSY_TICK = 0.4
"""The same after something was recorded: more is likely to come, and it is to be safe soon."""
_AGAIN = 5.0
_SLOW = 2.0
"""A vault that takes longer for a tick gets at most a third of the loop's time: meanwhile, ticks are spooled."""
_AWAY_AT_ONCE = FOLD_FROM  # commits that are taken away after folding: two deletions each, and a tick is waiting
_LONGEST_PAUSE = 0.1
_ROOM_FROM = 30.0  # seconds of changes that it takes to say how long the room will do
_BASE_FIRST = 2.0  # a point may be due anyway
_BASE_AGAIN = 30.0  # a point that gives a base was asked for, and has not come
_NOTHING_KEPT = "what changes is not kept before there is a base"
_BASE_KEPT = 600.0  # a base that no point takes is let go: it keeps its server's log, and collection, waiting


class Recorder:
    """One component whose log is kept up to date. While the vault does not take it, each tick waits in the spool; once
    that is full, nothing is forgotten either, but what happens from then on is told as one change."""

    def __init__(self, what: Followed, plugins: Plugins) -> None:
        self._what = what
        self._plugins = plugins
        self._shop: Workshop | None = None
        self._following: Following | None = None
        self._failure: Told | None = None
        self._away: KnowngoodError | None = None  # why the vault took nothing the last time it was tried
        self._away_ns = 0  # since when
        self._full = False  # so is the spool
        self._commits = 0  # since the log was folded
        self._reach_at = -math.inf  # when the vault is to be tried again
        self._pause_until = -math.inf  # on the steady clock: what comes before then is recorded together
        self._safe_at: float | None = None  # on the steady clock: all that had changed before then is in the log
        self._base_due: float | None = None  # when a point that gives a base is to be asked for
        self._reading: BaseReading | None = None  # of a base, beside
        self._reading_since = 0.0  # on the steady clock; since it is there, once it is
        self._read_from = -math.inf  # when the next one may be read
        self._unread: Told | None = None  # why the last one could not be

    @property
    def following(self) -> Following | None:
        """What makes this component's checkpoints while it is followed."""
        return self._following

    def start(self) -> None:
        """Begin to watch; into the spool, where the vault is away. Raises Unsupported, Busy, and what opening the vault
        raises where too little is known of it."""
        self._shop = Workshop(self._what.home, self._plugins)
        try:
            parts = self._opened(self._shop)
            self._following = Following(self._what.service, self._what.component, parts)
        except BaseException:
            self._shop.close()
            raise

    def _opened(self, shop: Workshop) -> Parts:
        try:
            parts = shop.parts()
        except KnowngoodError as wrong:
            parts = shop.parts_without_vault(wrong)
            self._failed(wrong, clock())
            return parts
        _remember(shop)
        return parts

    def tick(self, now: Now) -> float:
        """Record what changed. Returns when to come again, on the steady clock."""
        following, began = self._following, clock().steady
        assert following is not None
        reach = now.steady >= self._reach_at
        if reach and self._away is not None:
            reach = self._reopen(following, now)
        try:
            ticked = following.tick(away=None if reach else self._away or _SLOWLY)
        except KnowngoodError as wrong:
            self._failure = told(wrong)
            return now.steady + _AGAIN
        self._full = not ticked.kept
        if ticked.away is None:
            self._arrived(following, now)
            self._fold(following, ticked)
            if (took := clock().steady - began) > _SLOW:
                self._reach_at = began + 3 * took
        elif reach:
            self._failed(ticked.away, now)
        if ticked.away is not None and following.lacks_base:
            self._ask_for_base(now)
        if not ticked.kept:
            return now.steady + _AGAIN
        if ticked.records and following.standing.prompt:
            self._pause_until = _pause_after(began, clock().steady)
            return self._pause_until
        return now.steady + (BUSY_TICK if ticked.records else TICK)

    def _fold(self, following: Following, ticked: Ticked) -> None:
        """Fold what was committed since the last time, so that there are never many objects."""
        self._commits += ticked.position is not None
        if self._commits >= FOLD_FROM:
            self._commits = 0
            self._what.alone()
            with contextlib.suppress(KnowngoodError):  # it has time, and the next tick says what is wrong
                folded = following.fold(_AWAY_AT_ONCE)
                if folded.deleted and folded.waiting:
                    self._commits = FOLD_FROM - 1

    def _failed(self, away: KnowngoodError, now: Now) -> None:
        self._away_ns = self._away_ns or now.wall_ns
        self._failure, self._away = told(away), away
        self._reach_at = now.steady + _AGAIN

    def _arrived(self, following: Following, now: Now) -> None:
        """All that had changed is in the vault."""
        self._failure, self._away, self._away_ns = None, None, 0
        standing = following.standing
        if standing.based:
            self._safe_at = now.steady - standing.unread
        waits = self._read_base(following, standing, now)
        if waits or (standing.based and not standing.due and self._reading is None):
            self._base_due = None
        else:
            self._ask_for_base(now)

    def _ask_for_base(self, now: Now) -> None:
        """Have a point made: it gives a base, also where the vault is away and the point cannot be."""
        if self._base_due is None:
            self._base_due = now.steady + _BASE_FIRST
        elif now.steady >= self._base_due:
            self._base_due = now.steady + _BASE_AGAIN
            self._what.wants_point()

    def _read_base(self, following: Following, standing: Standing, now: Now) -> bool:
        """Have a base read beside, where one is wanted like that. Whether it has not come yet: no point is of use."""
        reading, beside = self._reading, standing.beside
        if reading is None:
            if beside is not None and now.steady >= self._read_from:
                self._reading, self._reading_since = BaseReading(following, beside, self._parts, self._read), now.steady
            return beside is not None
        if reading.failure is not None:
            self._unread, self._reading, self._read_from = told(reading.failure), None, now.steady + _BASE_AGAIN
            return False  # a point tells it
        if not reading.is_ready:
            return True
        self._unread = None
        if beside is None or standing.unready is not None or clock().steady - self._reading_since > _BASE_KEPT:
            if beside is not None:
                beside.drop()
            reading.release()
            self._reading, self._base_due = None, None
        return False

    def _read(self) -> None:
        """From the thread that reads a base: it is there, or is not."""
        self._reading_since = clock().steady
        self._what.wants_point()

    @contextlib.contextmanager
    def _parts(self) -> Iterator[Parts]:
        with contextlib.closing(Workshop(self._what.home, self._plugins)) as shop:
            yield shop.parts()

    def _reopen(self, following: Following, now: Now) -> bool:
        """Open the vault anew: it may have been away, and have come back as another folder. Whether it can be opened.

        Raises Locked when the home belongs to another vault by now.
        """
        fresh = Workshop(self._what.home, self._plugins)
        try:
            parts = fresh.parts()
        except KnowngoodError as wrong:
            fresh.close()
            self._failed(wrong, now)
            return False
        if self._shop is not None:
            self._shop.close()
        self._shop = fresh
        _remember(fresh)
        following.move_to(parts)
        return True

    def rest(self) -> None:
        """Leave the vault, until the next tick."""
        if self._following is not None:
            self._following.rest()

    def stop(self) -> None:
        """Watch no longer. What changes from now on is a gap."""
        following, reading, self._following, self._reading = self._following, self._reading, None, None
        if reading is not None:
            reading.stop(following.close if following else lambda: None)
        elif following is not None:
            following.close()
        if self._shop is not None:
            self._shop.close()

    def state(self) -> FollowerState:
        """How it goes."""
        following = self._following
        standing = following.standing if following else None
        return FollowerState(
            component=self._what.component.name,
            capture=standing.level if standing else "scan",
            holds=following is not None,
            # by the clock of now: while a long verb keeps the loop, nothing is recorded, and that has to show
            behind=None if self._safe_at is None else max(0.0, clock().steady - self._safe_at),
            note=self._note(following, standing),
            failure=self._failure or self._unread,
            base=self._base_now(standing) if standing else None,
            unsafe=standing.unsafe if standing else None,
            waiting=self._waiting(following.spool, clock()) if following else None,
        )

    def _note(self, following: Following | None, standing: Standing | None) -> str:
        if following is None or standing is None:
            return ""
        if self._away is not None and not standing.based:
            return following.baseless or _NOTHING_KEPT
        return following.dropped or standing.reason

    def _base_now(self, standing: Standing) -> BaseNow | None:
        reading = self._reading
        if reading is None or reading.is_ready:
            return None
        done = reading.progress
        since = max(0.0, clock().steady - self._reading_since)
        return BaseNow(seconds=since, bytes=done.bytes, total_bytes=done.total_bytes, first=not standing.based)

    def _waiting(self, spool: Spool, now: Now) -> Waiting | None:
        """What waits for the vault. Asked by another thread: a tick more or less does not matter."""
        ticks = spool.ticks
        if not ticks and not self._away_ns:
            return None
        used, limit = spool.bytes, spool.limit
        since_ns = self._away_ns or ticks[0].time_ns
        spent = (now.wall_ns - since_ns) / SECOND
        room = (limit - used) * spent / used if used and spent > _ROOM_FROM else None
        return Waiting(
            since_ns=since_ns,
            records=spool.records,
            bytes=used,
            limit=limit,
            full=self._full,
            room=0.0 if self._full else room,
        )

    def fileno(self) -> int:
        """What tells that the log of a database goes on: it is to be safe at once. Files are looked at by the clock."""
        standing = self._following.standing if self._following else None
        if clock().steady < self._pause_until:
            return -1
        return standing.file if standing and standing.prompt else -1


def _remember(shop: Workshop) -> None:
    with contextlib.suppress(KnowngoodError):  # it is for another day
        shop.remember_vault()


def _pause_after(began: float, ended: float) -> float:
    """Until when to wait after a tick that was made at once. Its syncs hold up those of the database, where both write
    to one disk: so we pause for as long as it took; and the nicer this process is, the longer."""
    return ended + min((ended - began) * (1 + max(0, os.nice(0)) / 2), _LONGEST_PAUSE)
