"""The shelf: which points there are, and their pages. It follows the vault while the file system is mounted.

One thread owns it, because the catalog belongs to one thread: `run` is its work. All others ask, and wait for its
answer; pages and chunks they read by themselves.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

from knowngood.core.buffers import Buffer
from knowngood.core.errors import KnowngoodError, StoreFailed
from knowngood.core.ids import Name
from knowngood.core.model import Point
from knowngood.core.ports import PageSource
from knowngood.doors.mount.moments import Moment, listed, spoken
from knowngood.flow.choose import chosen_moment, named_points
from knowngood.flow.parts import Parts
from knowngood.flow.points import checkpoints_of
from knowngood.flow.source import source
from knowngood.flow.state import open_state, scratch_of
from knowngood.vault.epoch import latest_epoch
from knowngood.vault.layout import COMMITS

FRESH_SECONDS = 1.0
"""How old what is known of the vault may be when somebody lists or looks up."""

_RENEW_SECONDS = 60.0  # after which an idle mount looks by itself, so that its session holds up no collection for long
_Answer = TypeVar("_Answer")
Moments = Mapping[bytes, Moment]


@dataclass(frozen=True, slots=True)
class Listing:
    """Service → component → name of a moment → moment. Never changed: a newer one takes its place."""

    services: Mapping[bytes, Mapping[bytes, Moments]]

    def component(self, service: bytes, component: bytes) -> Moments:
        """The moments of a component; none when it is not there."""
        return self.services.get(service, {}).get(component, {})


class Shelf:
    """Points of a vault, or of one of its services. A context manager; a page source (port) for all threads."""

    def __init__(self, parts: Parts, service: str | None = None) -> None:
        self._parts = parts
        self._service = service
        self._questions: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._looked = 0.0
        self._seen: tuple[frozenset[str], int] | None = None
        self._session = ExitStack()
        self._pages: PageSource
        self._known: dict[bytes, tuple[tuple[str, Moment], ...]] = {}  # by point: its components
        self.current = Listing({})

    def __enter__(self) -> Shelf:
        named_points(self._parts)
        self._follow()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._session.close()

    # --------------------------------------------------------------------------------------------- for all threads

    def page(self, name: Name) -> tuple[bytes, bytes]:
        """References and body of a page. Raises Damaged."""
        return self._pages.page(name)

    def chunk(self, name: Name) -> Buffer:
        """Content of a chunk. Raises Damaged."""
        return self._pages.chunk(name)

    def listing(self) -> Listing:
        """What there is, as of a second ago at most. Raises StoreFailed, Damaged."""
        if monotonic() - self._looked > FRESH_SECONDS:
            self._ask(self._follow)
        return self.current

    def choose(self, service: bytes, component: bytes, name: bytes) -> Moment:
        """The moment that a name means: one of the listing, or whatever `--at` takes. Raises NotFound, UsageError."""
        moments = self.listing().component(service, component)
        if (found := moments.get(name)) is not None:
            return found
        words = spoken(name.decode("utf-8", "surrogateescape"))
        return self._ask(lambda: self._chosen(service.decode(), component.decode(), words))

    def stop(self) -> None:
        """Let `run` return. May be called from a handler of signals."""
        self._questions.put(None)

    # ---------------------------------------------------------------------------------------------- for its owner

    def run(self) -> None:
        """Answer what the others ask, until `stop`."""
        while True:
            try:
                question = self._questions.get(timeout=_RENEW_SECONDS)
            except Empty:
                self._follow_quietly()
                continue
            if question is None:
                return
            future, ask = question
            try:
                future.set_result(ask())
            except Exception as wrong:  # noqa: BLE001 it is raised where it was asked for
                future.set_exception(wrong)

    def _ask(self, what: Callable[[], _Answer]) -> _Answer:
        future: Future[_Answer] = Future()
        with self._lock:
            if self._closed:
                raise StoreFailed("the file system is being unmounted")
            self._questions.put((future, what))
        return future.result()

    def _end(self) -> None:
        with self._lock:
            self._closed = True
        while True:
            try:
                question = self._questions.get_nowait()
            except Empty:
                return
            if question is not None:
                question[0].set_exception(StoreFailed("the file system is being unmounted"))

    def _follow_quietly(self) -> None:
        try:
            self._follow()
        except KnowngoodError:  # whoever looks next is told
            return

    def _follow(self) -> None:
        """Look whether the vault has changed; if so, learn what is new, and read through a new session.

        A session that is renewed holds up no collection; one that is kept would not know the packs of new points.
        """
        if self._seen is not None and monotonic() - self._looked <= FRESH_SECONDS:
            return
        store = self._parts.vault.store
        commits = frozenset(each.key for each in store.list(COMMITS))
        seen = commits, latest_epoch(store).number
        if seen != self._seen:
            self._renew()
            self._seen = seen
        self._looked = monotonic()

    def _renew(self) -> None:
        parts = self._parts
        parts.catalog.follow(parts.vault.store, parts.private(), parts.vault.id)
        listing = self._listing()
        with ExitStack() as opening:  # after the catalog: the session's index then has the packs of all it knows
            session = opening.enter_context(parts.vault.session("mount", reading=True))
            self._pages = source(parts, session)
            self.current = listing
            former, self._session = self._session, opening.pop_all()
        former.close()

    def _listing(self) -> Listing:
        found: dict[bytes, dict[bytes, list[Moment]]] = {}
        known: dict[bytes, tuple[tuple[str, Moment], ...]] = {}
        for point in self._parts.catalog.points(self._service):
            components = known[point.id] = self._known.get(point.id) or self._components(point)
            service = found.setdefault(point.service.encode(), {})
            for component, moment in components:
                service.setdefault(component.encode(), []).append(moment)
        self._known = known
        return Listing(
            {
                service: {component: listed(moments) for component, moments in components.items()}
                for service, components in sorted(found.items())
            }
        )

    def _components(self, point: Point) -> tuple[tuple[str, Moment], ...]:
        return tuple(
            (each.component, Moment(each.id, each.root, point.moment_ns, point.received_ns))
            for each in checkpoints_of(point, self._parts)
        )

    def _chosen(self, service: str, component: str, words: str) -> Moment:
        """A point, or what a log leads to; its own scratch is thrown away when nobody has the state any more."""
        moment = chosen_moment(self._parts, service, words)
        (aim,) = moment.chosen(component)
        point, checkpoint = aim.stand.point, aim.stand.checkpoint
        with ExitStack() as opening:
            scratch = opening.enter_context(scratch_of(aim, self._parts))
            state = open_state(moment, aim, scratch, self, self._parts)
            if state.changes:
                weakref.finalize(state.pages, opening.pop_all().close)
        if not state.changes:
            return Moment(checkpoint.id, checkpoint.root, point.moment_ns, point.received_ns)
        identity = hashlib.blake2b(checkpoint.id + state.changes.to_bytes(8, "little"), digest_size=16).digest()
        at_ns = state.last_ns if moment.asked_ns is None else moment.asked_ns
        return Moment(identity, state.checkpoint.root, at_ns, point.received_ns, state.pages)
