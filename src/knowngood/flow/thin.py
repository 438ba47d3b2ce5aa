"""Thin: the parts of logs that are older than the any-moment window are hidden. The checkpoints on them stay."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from knowngood.core.instants import SECOND
from knowngood.core.model import Policy
from knowngood.flow.moment import stands_of
from knowngood.flow.parts import Parts


@dataclass(frozen=True, slots=True)
class Thinning:
    """Records of one component's log that are no longer kept: all before number `end`."""

    service: str
    component: str
    timeline: bytes
    end: int
    records: int


def plan_thinning(service: str, policy: Policy, expiring: Collection[bytes], now: int, parts: Parts) -> list[Thinning]:
    """What may go of the logs of a service: all before the newest checkpoint that is older than the window and stays.

    So every moment of the window has a checkpoint before it. The vault's receive time counts, never the host's clock.
    """
    before = now - int(policy.keep.any_moment * SECOND)
    found: list[Thinning] = []
    for timeline, stands in stands_of(parts, service).items():
        old = [
            each
            for each in stands
            if each.position is not None and each.point.received_ns <= before and each.point.id not in expiring
        ]
        if not old:
            continue
        end = old[-1].sequence
        newest = parts.catalog.log.newest(timeline)
        going = [each for each in parts.catalog.log.covering(timeline, 0, end) if each.end <= end and each != newest]
        if going:
            records = sum(each.count for each in going)
            found.append(Thinning(service, old[-1].checkpoint.component, timeline, end, records))
    return found


def thin(planned: Collection[Thinning], undo_ns: int, parts: Parts) -> None:
    """Carry it out; the parts can be brought back for `undo_ns`."""
    if not planned:
        return
    with parts.vault.session("thin", freeing=True) as session:
        for each in planned:
            parts.vault.thin(session, parts.catalog, each.timeline, 0, each.end, undo_ns)
