"""One obligation carried out: the home is held, everything is opened as for any command, and a verb of the flow runs.

Opening anew is what makes a vault that went away, came back or was replaced harmless, and keeps memory bounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from knowngood.control.derived import without_derived
from knowngood.control.files import read_bounded, write_durably
from knowngood.control.home import Home
from knowngood.control.keyring import load_writer
from knowngood.control.levels import due_level
from knowngood.control.plugins import Plugins
from knowngood.control.services import get_service, list_services
from knowngood.control.workshop import Workshop
from knowngood.core.errors import Busy, KnowngoodError
from knowngood.core.instants import now_ns
from knowngood.core.model import Level, Point, ServiceSpec, Status
from knowngood.core.progress import Progress
from knowngood.flow.follow import Following
from knowngood.flow.protect import Protected, protect
from knowngood.flow.tidy import Tidied, plan_tidy, tidy
from knowngood.vault.catalog import Catalog

COMPLETE = (Status.RECOVERABLE, Status.PROVEN)
"""What can be promised to come back whole."""

Watch = Callable[[Progress], None]
FollowedOf = Callable[[ServiceSpec], Mapping[str, Following]]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a point is to be called, and the level that is asked for; None for what the policy says."""

    name: str = ""
    level: Level | None = None


class Elsewhere(Busy):
    """A command is at work in the home."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest points of a service made on this host, or None: of any status, and complete."""

    point: Point | None
    complete: Point | None


def newest_points(home: Home, catalog: Catalog, service: str, host: str) -> Newest:
    """As the catalog knows them; a service of the same name on another host is another service."""
    return newest_of(home, catalog.points(service), service, host)


def newest_of(home: Home, points: Iterable[Point], service: str, host: str) -> Newest:
    """The same of its points, newest first."""
    label = load_writer(home).namer.label("service", host, service)
    ours = [each for each in points if each.service_label == label]
    return Newest(next(iter(ours), None), next((each for each in ours if each.status in COMPLETE), None))


@contextlib.contextmanager
def _at_work(home: Home, plugins: Plugins, what: str) -> Iterator[Workshop]:
    """Hold the home for one verb. Raises Elsewhere when a command does."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(home.lock(f"knowngood up: {what}", passing=True))
        except Busy as wrong:
            raise Elsewhere(wrong.message, hint=wrong.hint) from None
        yield stack.enter_context(contextlib.closing(Workshop(home, plugins)))


def make_point(
    home: Home,
    plugins: Plugins,
    service: str,
    known: bytes | None,
    watch: Watch,
    followed: FollowedOf = lambda _: {},
    wish: Wish | None = None,
) -> Protected | Newest:
    """Make a point of a service; or, when somebody made one since the point that is `known`, find that one.

    `followed` says which components are followed.
    """
    wish = wish or Wish()
    with _at_work(home, plugins, f"protect {service}") as shop:
        spec = without_derived(home, get_service(home, service))
        watch(shop.progress)
        try:
            parts = shop.parts()
        except KnowngoodError:
            for each in followed(spec).values():  # no point can be made: but what changes from now on can be kept
                each.base_here(shop.progress)
            raise
        newest = newest_points(home, parts.catalog, service, parts.host)
        if known is not None and newest.point is not None and newest.point.id != known:
            return newest
        level = wish.level or due_level(spec.policy, parts.catalog.points(service), now_ns())
        return protect(spec, parts, partly=True, followed=followed(spec), name=wish.name, level=level)


def tidy_home(home: Home, plugins: Plugins, watch: Watch) -> Tidied:
    """Hide what policies no longer keep, collect what was hidden long enough. Services that cannot be read are left."""
    with _at_work(home, plugins, "tidy") as shop:
        parts = shop.parts()
        watch(parts.progress)
        policies = {each.name: each.policy for each in list_services(home).services}
        done = tidy(plan_tidy(policies, parts, measure=False), parts)
        note_tidied(home)
        return done


def look_up(home: Home, service: str, host: str) -> Newest:
    """The newest points that the catalog knows, without asking the vault; neither when it knows none."""
    try:
        with contextlib.closing(Catalog(home.catalog)) as catalog:
            return newest_points(home, catalog, service, host)
    except KnowngoodError:  # no catalog, no key: whoever makes a point will say so
        return Newest(None, None)


def last_drilled(home: Home, service: str) -> int | None:
    """When a point of a service was last judged, by the wall clock; None when nobody knows."""
    with contextlib.suppress(KnowngoodError), contextlib.closing(Catalog(home.catalog)) as catalog:
        ours = {each.id for each in catalog.points(service)}
        return max((each.at_ns for each in catalog.judgements().values() if each.point in ours), default=None)
    return None


def note_tidied(home: Home) -> None:
    """Remember that the home was tidied now."""
    write_durably(home.tidied, str(now_ns()).encode())


def last_tidied(home: Home) -> int | None:
    """When the home was tidied, by the wall clock; None when nobody knows."""
    with contextlib.suppress(KnowngoodError, ValueError):
        return int(read_bounded(home.tidied, 64))
    return None
