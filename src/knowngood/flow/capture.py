"""One component on its way into a point."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from knowngood.core.ids import new_id
from knowngood.core.instants import now_ns
from knowngood.core.model import Checkpoint, ComponentSpec, Position
from knowngood.core.ports import CaptureContext, Captured, Kind
from knowngood.flow.follow import Following
from knowngood.vault.ingest import Ingest


@dataclass(slots=True)
class Capture:
    """Read, landed, remembered: in this order. `made` is the checkpoint once it has landed."""

    component: ComponentSpec
    kind: Kind
    context: CaptureContext
    sink: Ingest
    timeline: bytes
    following: Following | None
    started_ns: int = 0
    captured: Captured | None = None
    made: Checkpoint | None = None

    def read(self, moment_ns: int | None) -> Captured:
        """The state as it is now, or, of a database that was marked, as it was at the mark; read once only."""
        if self.captured is None:
            self.started_ns = now_ns()
            if self.following is not None:
                self.captured = self.following.take(self.context, moment_ns or now_ns())
            else:
                self.captured = self.kind.checkpoint(self.component, self.context)
        return self.captured

    def read_again(self) -> None:
        """What was read is not to be used: what is read next is another checkpoint."""
        if self.captured is not None:
            self.captured = None
            self.context = replace(self.context, checkpoint_id=new_id())

    def land(self) -> Position | msgspec.UnsetType:
        """Make it durable, with what was missing in its log; where the log is at it."""
        if self.following is not None:
            return self.following.land(self.context)
        self.sink.flush()  # also tells what landed for this component from what did for the next
        return msgspec.UNSET

    @property
    def checkpoint(self) -> Checkpoint:
        """What came of it."""
        assert self.made is not None
        return self.made

    def remember(self) -> None:
        """The point is committed."""
        assert self.captured is not None
        if self.following is not None:
            self.following.remember(self.context, self.captured)
        else:
            self.kind.remember(self.component, self.context, self.captured)
