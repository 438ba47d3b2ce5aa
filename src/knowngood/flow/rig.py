"""A rig: a service brought back into a private folder, with throw-away servers that run on it. Nothing of it stays."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from knowngood.core.errors import Damaged, KnowngoodError, NoSpace, StoreFailed, Unsupported
from knowngood.core.model import ComponentSpec, ServiceSpec
from knowngood.core.ports import Recovered, Sandbox
from knowngood.flow.moment import Moment
from knowngood.flow.parts import Parts
from knowngood.flow.points import definition_of
from knowngood.flow.recover import Wish, carry_out, make_plan, request_for
from knowngood.flow.state import states


@dataclass(slots=True)
class Piece:
    """One component in the rig. `error` says what kept it from being recovered or started; seconds."""

    component: ComponentSpec
    folder: str
    recovered: Recovered | None = None
    recover_seconds: float = 0
    start_seconds: float | None = None  # None: there is nothing to start
    error: KnowngoodError | None = None
    sandbox: Sandbox | None = None

    @property
    def address(self) -> Mapping[str, str]:
        """How to reach it."""
        return {"path": self.folder, **(self.sandbox.address if self.sandbox else {})}


@dataclass(slots=True)
class Rig:
    """All pieces, in the order of the service."""

    pieces: list[Piece] = field(default_factory=list[Piece])

    def piece(self, name: str) -> Piece | None:
        """The piece of this component."""
        return next((each for each in self.pieces if each.component.name == name), None)

    @property
    def errors(self) -> list[tuple[str, KnowngoodError]]:
        """What kept components from being recovered or started, by their names."""
        return [(each.component.name, each.error) for each in self.pieces if each.error is not None]

    def require(self) -> None:
        """Raise the first error that there was."""
        for _, wrong in self.errors:
            raise wrong

    def stop(self) -> None:
        """End all servers, the last one first."""
        for each in reversed(self.pieces):
            sandbox, each.sandbox = each.sandbox, None
            if sandbox is not None:
                with contextlib.suppress(KnowngoodError, OSError):
                    sandbox.stop()


def bytes_of(moment: Moment) -> int:
    """About how many bytes its components have."""
    return sum(each.stand.checkpoint.totals.bytes for each in moment.aims)


def bring_back(
    moment: Moment, folder: str, parts: Parts, order: ServiceSpec, until: tuple[str, str] | None = None
) -> Rig:
    """Recover every component into a folder of its own, in the order of a service, maybe only `until` a place in its
    own log. One that cannot be recovered has an error; the others go on."""
    rig, definition = Rig(), definition_of(moment.point)
    for name in order.ordered(each.stand.checkpoint.component for each in moment.aims):
        checkpoint = moment.chosen(name)[0].stand.checkpoint
        known = definition.component(name) if definition else None
        component = known or ComponentSpec(name=name, kind=checkpoint.kind)
        piece = Piece(component, os.path.join(folder, name))
        rig.pieces.append(piece)
        with _failing(piece):
            os.mkdir(piece.folder, 0o700)
            began = time.monotonic()
            with states(moment, name, parts, "drill") as (state,):
                wish = Wish(component=name, to=piece.folder, until=until)
                piece.recovered = carry_out(make_plan(state, request_for(state, wish, parts), parts), parts)
            piece.recover_seconds = time.monotonic() - began
    return rig


def start(rig: Rig, parts: Parts) -> None:
    """Start what can be started, in order."""
    for piece in rig.pieces:
        if piece.error is not None:
            continue
        began = time.monotonic()
        with _failing(piece):
            kind = parts.kind(piece.component.kind)
            try:
                parts.progress.enter(f"starting {piece.component.name}")
                piece.sandbox = kind.sandbox(piece.component, piece.folder)
            except Unsupported:
                if kind.traits.holds:
                    raise
                continue  # files need no server
            piece.start_seconds = time.monotonic() - began


@contextlib.contextmanager
def _failing(piece: Piece) -> Iterator[None]:
    try:
        yield
    except KnowngoodError as wrong:
        piece.error = wrong
    except OSError as wrong:
        kind = NoSpace if wrong.errno in (errno.ENOSPC, errno.EDQUOT) else StoreFailed
        piece.error = kind(f"{piece.folder}: {os.strerror(wrong.errno or 0).lower()}")


def speaks_against(wrong: KnowngoodError) -> bool:
    """Whether an error says something of the point, and not of this machine."""
    return type(wrong) is KnowngoodError or isinstance(wrong, Damaged)
