"""A kind of database (port Kind) from a feed: bases and logs by it, recovery as plain files into a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from knowngood.core.instants import now_ns
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import (
    CaptureContext,
    Captured,
    Follower,
    PageSource,
    Recovered,
    RecoveryPlan,
    RecoveryRequest,
    Sandbox,
)
from knowngood.core.progress import Progress
from knowngood.core.rows import Rows, RowsRequest
from knowngood.core.traits import KindTraits
from knowngood.databases.feed import Feed, Spare
from knowngood.databases.follower import DatabaseFollower
from knowngood.databases.image import Image
from knowngood.databases.in_place import Folders, InPlace, Place
from knowngood.databases.local import LocalFiles
from knowngood.databases.remembered import Holding


@dataclass(frozen=True, slots=True)
class Ways:
    """What a kind brings. `owner` is the uid and gid that recovered files are to have. `until` makes a place in the log
    something that is done to a recovered folder; it raises UsageError for what is none."""

    traits: KindTraits
    probe: Callable[[ComponentSpec], None]
    feed: Callable[[ComponentSpec, str], Feed]
    sandbox: Callable[[ComponentSpec, str], Sandbox]
    owner: Callable[[ComponentSpec], tuple[int, int]]
    rows: Callable[[ComponentSpec, Mapping[str, str], RowsRequest], Rows]
    follows: Callable[[ComponentSpec], None] = lambda _: None
    """Raises Unsupported when it has no log that could be followed."""
    spare: Callable[[ComponentSpec, str], Spare] | None = None
    """A second feed; None where there can be none, or where a new base leads nowhere from the one before it."""
    until: Callable[[str, str], Callable[[str], None]] | None = None
    place: Place | None = None
    """How it comes back to where it was; None where that is a path of its component."""


class DatabaseKind:
    """A kind of database. `folders` is the kind that brings files back into folders."""

    def __init__(self, ways: Ways, folders: Folders) -> None:
        self._ways = ways
        self._folders = folders
        self._in_place = InPlace(folders, ways.place) if ways.place else None

    @property
    def traits(self) -> KindTraits:
        """What this kind can do."""
        return self._ways.traits

    def probe(self, component: ComponentSpec) -> None:
        """Raise UsageError, with the fix, when the database cannot be protected as it is described."""
        self._ways.probe(component)

    def checkpoint(self, component: ComponentSpec, context: CaptureContext) -> Captured:
        """A base, taken now. Raises Busy when the database is being followed."""
        folder = os.path.join(context.state_dir, "base")
        with closing(Holding(context.state_dir)), closing(LocalFiles(folder)) as local:
            local.clear()
            image = Image(local, self._ways.owner(component), now_ns)
            with closing(self._ways.feed(component, context.state_dir)) as feed:
                feed.base(image, context.sink, context.progress)
                root = image.root(context.sink)
            local.clear()
        return Captured(root, "scan", image.totals)

    def remember(self, component: ComponentSpec, context: CaptureContext, captured: Captured) -> None:
        """Nothing is learnt from a base that is not followed."""

    def follow(self, component: ComponentSpec, state_dir: str) -> Follower:
        """Follow a database from now on. Raises Busy when that is done already, Unsupported."""
        self._ways.follows(component)
        feed, spare = self._ways.feed(component, state_dir), self._ways.spare
        second = partial(spare, component, state_dir) if spare else None
        try:
            return DatabaseFollower(feed, state_dir, self._ways.owner(component), now_ns, second)
        except BaseException:
            feed.close()
            raise

    def plan(self, request: RecoveryRequest, pages: PageSource, progress: Progress) -> RecoveryPlan:
        """What bringing its files into a folder would do; without one, to where its server has them."""
        self._ending(request)
        if self._in_place is not None and not request.target:
            return self._in_place.plan(request, pages, progress)
        return self._folders.plan(request, pages, progress)

    def _ending(self, request: RecoveryRequest) -> Callable[[str], None] | None:
        if request.until is None or self._ways.until is None:
            return None
        return self._ways.until(*request.until)

    def materialize(self, plan: RecoveryPlan, pages: PageSource, progress: Progress) -> Recovered:
        """Bring its files into a folder, from which a server can be started; or, while none runs, to where it was."""
        ending = self._ending(plan.request)
        if self._in_place is not None and not plan.request.target:
            return self._in_place.materialize(plan, pages, progress, ending)
        done = self._folders.materialize(plan, pages, progress)
        if ending is not None:
            ending(plan.request.target)
        return done

    def sandbox(self, component: ComponentSpec, folder: str) -> Sandbox:
        """Start a throw-away server on files that were recovered into a folder."""
        return self._ways.sandbox(component, folder)

    def rows(self, component: ComponentSpec, found: Mapping[str, str], request: RowsRequest) -> Rows:
        """Some rows of what runs in a sandbox at this address."""
        return self._ways.rows(component, found, request)
