"""Checkpoints wait in a spool: each is a point, whole, once it has landed, and its log goes on from it."""

from __future__ import annotations

from pathlib import Path

from knowngood.core.ids import new_id
from knowngood.core.instants import now_ns
from knowngood.core.log import LogRecord
from knowngood.core.model import Checkpoint, Mark, Point, Totals
from knowngood.flow.spooling import BaseSink, Spooler
from knowngood.testing.crash.recorder import Tell
from knowngood.testing.logs import TIMELINE, records
from knowngood.testing.vaults import SmallVault, write_tree
from knowngood.vault.spool import Spool, SpooledBase
from knowngood.vault.spool_landing import land_spool
from tests.fault.crash.contents import files_of
from tests.fault.crash.plays import Spooled

_APART = 5


class Bases(Spooled):
    """Ticks wait, and checkpoints with them, each of which begins a new chain."""

    def keep(self, small: SmallVault, spool: Spool, tell: Tell, root: Path) -> None:
        """A tick, or a checkpoint, waits."""
        if self.chance.random() < 0.5:
            super().keep(small, spool, tell, root)
            return
        number, end = self.number(), self._end(small, spool)
        waiting = [each.base.checkpoint.id for each in spool.ticks if each.base is not None]
        spooler = Spooler(small.vault, TIMELINE, spool, lambda: str(root / self.STATE))

        def base_of(sink: BaseSink) -> tuple[list[LogRecord], SpooledBase]:
            made = write_tree(files_of(number), sink, piece=300)
            batch = records(self.chance, end + _APART, self.chance.randrange(1, 3))
            tell("basing", number, end + _APART, batch)
            self._written = batch
            return batch, SpooledBase(_checkpoint(made, number), waiting[-1] if waiting else b"")

        spooler.keep_base(end + _APART, base_of)
        tell("based", number, end + _APART)

    @staticmethod
    def _end(small: SmallVault, spool: Spool) -> int:
        newest = small.catalog.log.newest(TIMELINE)
        return spool.ticks[-1].part.end if spool.ticks else newest.end if newest else 0

    def land(self, small: SmallVault, spool: Spool) -> None:
        """What waits goes into the vault, with its points."""
        if spool.ticks:
            with small.vault.session("follow", timelines=(TIMELINE,)) as session:
                done = land_spool(spool, small.vault, session, small.catalog, lambda base: _point(small, base))
            assert not done.reason, done


def _checkpoint(root: bytes, number: int) -> Checkpoint:
    return Checkpoint(
        id=new_id(),
        timeline=TIMELINE,
        root=root,
        component=f"s{number}",
        kind="files",
        source="/source",
        host="host",
        capture="watch",
        started_ns=now_ns(),
        finished_ns=now_ns(),
        totals=Totals(),
    )


def _point(small: SmallVault, base: Checkpoint) -> Point:
    return Point(
        id=new_id(),
        service_label=small.vault.writer.namer.label("service", base.component),
        service=base.component,
        marks=(Mark(base.timeline, base.id),),
        level="L0",
        status="recoverable",
        moment_ns=base.finished_ns,
        started_ns=base.started_ns,
        evidence={},
    )
