"""What a capture may refer to without asking: checkpoints that nobody had hidden when its session was announced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from knowngood.core.errors import KnowngoodError, Unsupported
from knowngood.core.model import ComponentSpec, ServiceSpec, Totals
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
from knowngood.flow.protect import protect
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, write_tree


class AskingKind:
    """A kind that notes what it was told to trust."""

    traits = KindTraits(name="files")

    def __init__(self) -> None:
        self.trusted: frozenset[bytes] = frozenset()

    def probe(self, component: ComponentSpec) -> None:
        """Anything goes."""

    def checkpoint(self, component: ComponentSpec, context: CaptureContext) -> Captured:
        """One file."""
        self.trusted = context.trusted
        return Captured(write_tree({b"f": b"content"}, context.sink), "scan", Totals())

    def follow(self, component: ComponentSpec, state_dir: str) -> Follower:
        """Nobody does."""
        raise Unsupported("it cannot be followed")

    def remember(self, component: ComponentSpec, context: CaptureContext, captured: Captured) -> None:
        """Nothing to remember."""

    def plan(self, request: RecoveryRequest, pages: PageSource, progress: Progress) -> RecoveryPlan:
        """Not asked for here."""
        raise KnowngoodError("not here")

    def materialize(self, plan: RecoveryPlan, pages: PageSource, progress: Progress) -> Recovered:
        """Not asked for here."""
        raise KnowngoodError("not here")

    def sandbox(self, component: ComponentSpec, folder: str) -> Sandbox:
        """Not asked for here."""
        raise KnowngoodError("not here")

    def rows(self, component: ComponentSpec, found: Mapping[str, str], request: RowsRequest) -> Rows:
        """Not asked for here."""
        raise KnowngoodError("not here")


def test_what_another_home_has_expired_is_not_trusted(tmp_path: Path) -> None:
    """A catalog that nobody brought up to date once made a capture refer to what a collector was taking away."""
    mine = SmallVault(MemoryStore())
    old = mine.protect({b"f": b"old"})
    kept = mine.protect({b"f": b"kept"})
    mine.beside().expire(old)
    assert old.marks[0].checkpoint in mine.catalog.trusted_checkpoints()  # it has not heard of it
    kind = AskingKind()
    parts = Parts(
        vault=mine.vault,
        catalog=mine.catalog,
        kinds=lambda: {"files": kind},
        state_dir=lambda _: str(tmp_path),
        private=lambda: mine.private,
    )
    service = ServiceSpec(name="s", components=(ComponentSpec(name="c", kind="files", path="/"),))
    protect(service, parts)
    assert kind.trusted == {kept.marks[0].checkpoint}
