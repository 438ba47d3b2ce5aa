"""Rows: some of one table, or some keys, taken from a throw-away server and merged into production, or written down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace

from knowngood.core.errors import UsageError
from knowngood.core.model import ServiceSpec
from knowngood.core.rows import Rows, RowsRequest, Tally, Which
from knowngood.flow.moment import Moment
from knowngood.flow.parts import Parts
from knowngood.flow.private import private_folder
from knowngood.flow.rig import Rig, bring_back, bytes_of, start
from knowngood.flow.row_files import write_rows
from knowngood.linux.apart import apart


@dataclass(frozen=True, slots=True)
class RowsWish:
    """What is wanted, of which component, and for what: `which` rows are merged; or all go `to` a file."""

    component: str
    request: RowsRequest
    which: Which = Which.MISSING
    to: str = ""
    until: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class RowsPlan:
    """What merging would do. `name` is that of the table; `left_out` are columns that production does not have."""

    wish: RowsWish
    name: str
    tally: Tally = field(default_factory=Tally)
    left_out: tuple[str, ...] = ()
    sandbox_seconds: float = 0  # until the throw-away server answered


Agree = Callable[[RowsPlan], bool]


def take_rows(
    moment: Moment, wish: RowsWish, service: ServiceSpec | None, parts: Parts, registry: str, agree: Agree
) -> tuple[RowsPlan, Tally | None]:
    """Plan, ask `agree` about the plan, and carry it out: what there was, and what was done; None when it disagreed.

    `service` is how it is defined on this machine: production is where that says, and never where only a vault does.
    """
    began = time.monotonic()
    with _sandbox(moment, wish, service, parts, registry) as rows, closing(rows.source):
        took = time.monotonic() - began
        if wish.to:
            plan = RowsPlan(wish, rows.source.name, sandbox_seconds=took)
            if not agree(plan):
                return plan, None
            parts.progress.enter(f"writing {wish.to}")
            count = write_rows(rows.source, wish.to)
            return plan, Tally(rows=count)
        parts.progress.enter(f"comparing {rows.source.name} with production")
        tally, left_out = _pass(rows, None)
        plan = RowsPlan(wish, rows.source.name, tally, left_out, took)
        if not agree(plan):
            return plan, None
        parts.progress.enter(f"merging into {rows.source.name}")
        return plan, _pass(rows, wish.which)[0]


def _pass(rows: Rows, which: Which | None) -> tuple[Tally, tuple[str, ...]]:
    """All rows once, in one transaction of production; with None it is only counted, and nothing stays."""
    tally = Tally()
    with closing(rows.target()) as target:
        for batch in rows.source.batches():
            tally.add(target.merge(batch, which))
        if which is not None:
            target.commit()
        return tally, tuple(target.left_out)


@contextmanager
def _sandbox(
    moment: Moment, wish: RowsWish, service: ServiceSpec | None, parts: Parts, registry: str
) -> Iterator[Rows]:
    only = replace(moment, aims=moment.chosen(wish.component))
    production = service.component(wish.component) if service else None
    if production is None and not wish.to:
        raise UsageError(
            f"this machine has no component '{wish.component}' of that service into which rows could be merged",
            hint="define it first: knowngood service adopt; or write the rows to a file: --to FILE.csv",
        )
    with private_folder(registry, bytes_of(only)) as folder:
        rig = Rig()
        try:
            rig = bring_back(only, folder, parts, service or ServiceSpec(name="", components=()), wish.until)
            rig.require()
            apart(lambda: start(rig, parts), rig.stop, folder)
            rig.require()
            piece = rig.pieces[0]
            kind = parts.kind(piece.component.kind)
            if production is not None and production.kind != piece.component.kind:
                raise UsageError(f"'{wish.component}' is {production.kind} now, and was {piece.component.kind}")
            yield kind.rows(production or piece.component, piece.address, wish.request)
        finally:
            rig.stop()
