"""A kind for tests of the flow: components are dictionaries, and everything that is asked of it is noted."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field

from knowngood.core.errors import NotFound, Unsupported, UsageError
from knowngood.core.model import ComponentSpec, Problem, ServiceSpec, Totals
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
from knowngood.flow.parts import Parts
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, read_tree, write_tree

Notes = dict[bytes, bytes]


@dataclass
class NotesKind:
    """`places` are what lies at each path; `log` is what was asked, in order."""

    places: dict[str, Notes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    trusted: frozenset[bytes] = frozenset()
    requests: list[RecoveryRequest] = field(default_factory=list)
    fails: Exception | None = None

    traits = KindTraits(name="notes")

    def probe(self, component: ComponentSpec) -> None:
        """It has to be there."""
        self.log.append(f"probe {component.name}")
        if component.path not in self.places:
            raise UsageError(f"there is nothing at {component.path}")

    def checkpoint(self, component: ComponentSpec, context: CaptureContext) -> Captured:
        """All of it."""
        self.log.append(f"checkpoint {component.name}")
        self.trusted = context.trusted
        if self.fails:
            raise self.fails
        root = write_tree(self.places[component.path], context.sink)
        return Captured(root, "scan", Totals(files=1), list(self.problems), len(self.problems))

    def follow(self, component: ComponentSpec, state_dir: str) -> Follower:
        """Nobody tells what is noted."""
        raise Unsupported("dictionaries cannot be followed")

    def remember(self, component: ComponentSpec, context: CaptureContext, captured: Captured) -> None:
        """Noted."""
        self.log.append(f"remember {component.name}")

    def plan(self, request: RecoveryRequest, pages: PageSource, progress: Progress) -> RecoveryPlan:
        """Patterns are matched against names; one that meets nothing is not found."""
        self.requests.append(request)
        self.log.append(f"plan {request.checkpoint.component}")
        names = [name.decode() for name in read_tree(request.checkpoint.root, pages)]
        for path in request.paths:
            if not fnmatch.filter(names, path):
                raise NotFound(f"there is no {path}")
        return RecoveryPlan(request, create=len(names))

    def materialize(self, plan: RecoveryPlan, pages: PageSource, progress: Progress) -> Recovered:
        """Put it there."""
        request = plan.request
        self.log.append(f"materialize {request.checkpoint.component}")
        found = read_tree(request.checkpoint.root, pages)
        wanted = [name for name in found if not request.paths or _meets(name, request.paths)]
        self.places.setdefault(request.target, {}).update({name: found[name] for name in wanted})
        return Recovered(files=len(wanted))

    def sandbox(self, component: ComponentSpec, folder: str) -> Sandbox:
        """There is no server of dictionaries."""
        raise Unsupported("dictionaries have no server")

    def rows(self, component: ComponentSpec, found: Mapping[str, str], request: RowsRequest) -> Rows:
        """Nor tables."""
        raise Unsupported("dictionaries have no tables")


def _meets(name: bytes, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(name.decode(), pattern) for pattern in patterns)


def parts_of(vault: SmallVault, kind: NotesKind) -> Parts:
    """What a verb is given."""
    return Parts(
        vault=vault.vault,
        catalog=vault.catalog,
        kinds=lambda: {"notes": kind},
        state_dir=lambda timeline: f"/nowhere/{timeline.hex()}",
        private=lambda: vault.private,
    )


def service_of(*names: str, exclude: tuple[str, ...] = ()) -> ServiceSpec:
    """A service with these components."""
    parts = (ComponentSpec(name=name, kind="notes", path=f"/srv/{name}", exclude=exclude) for name in names)
    return ServiceSpec(name="shop", components=tuple(parts))


def small_vault() -> SmallVault:
    """An empty one, in memory."""
    return SmallVault(MemoryStore())
