"""Where objects lie in the lanes of a set. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from knowngood.core.sizes import KIB
from knowngood.vault.parity.shard import Member, Table

LANES = 64
"""Two shards for 64 lanes are 3.1 %, and the checksums of blocks add 0.2 %: sets that are not quite full, because
objects come and go, stay below 5 %."""

SHARDS = 2
_ONE_SHARD_BELOW = 8  # lanes: a small set would cost more than it is worth
_SMALL_LANE = 64 * KIB


@dataclass(frozen=True, slots=True)
class Candidate:
    """An object that has no parity yet: what a member is, but for its place, and for the name of a commit."""

    kind: int
    size: int
    name: bytes = b""
    session: bytes = bytes(16)
    number: int = 0

    def at(self, lane: int, offset: int) -> Member:
        """It as a member, in a place."""
        return Member(self.kind, lane, offset, self.size, self.name, self.session, self.number)


def block_for(level: int) -> int:
    """The size of blocks: bad sectors are found by them, and members begin with one. Bytes."""
    return 512 if level <= _SMALL_LANE else 4096


def shards_for(members: Iterable[Member]) -> int:
    """How many shards a set has: one for few lanes, two for more."""
    return 1 if len({each.lane for each in members}) < _ONE_SHARD_BELOW else SHARDS


def room(members: Sequence[Member], block: int, capacity: int) -> list[tuple[int, int, int]]:
    """The gaps in the lanes: (minus length, lane, offset), a heap. The emptiest lane comes first."""
    ends: dict[int, list[tuple[int, int]]] = {lane: [] for lane in range(LANES)}
    for each in members:
        ends.setdefault(each.lane, []).append((each.offset, each.offset + _rounded(each.size, block)))
    gaps: list[tuple[int, int, int]] = []
    for lane, taken in ends.items():
        at = 0
        for start, end in [*sorted(taken), (capacity, capacity)]:
            if start > at:
                gaps.append((at - start, lane, at))
            at = max(at, end)
    heapq.heapify(gaps)
    return gaps


def fill(members: Sequence[Member], fresh: Iterable[Candidate], block: int) -> tuple[list[Member], list[Candidate]]:
    """Find places beside `members` for as many as fit of what is fresh: (placed, left over)."""
    ordered = sorted(fresh, key=lambda each: -each.size)
    ends = [each.offset + _rounded(each.size, block) for each in members]
    capacity = max([*ends, *(_rounded(each.size, block) for each in ordered[:1])], default=0)
    gaps = room(members, block, capacity)
    placed: list[Member] = []
    left: list[Candidate] = []
    for each in ordered:
        taken = _rounded(each.size, block)
        if not gaps or -gaps[0][0] < taken:
            left.append(each)
            continue
        length, lane, offset = gaps[0]
        heapq.heapreplace(gaps, (length + taken, lane, offset + taken))
        placed.append(each.at(lane, offset))
    return placed, left


def table_of(members: Sequence[Member], block: int) -> Table:
    """The table of a set with these members."""
    ordered = tuple(sorted(members, key=lambda each: (each.lane, each.offset)))
    lane_bytes = max(each.offset + _rounded(each.size, block) for each in ordered)
    return Table(shards_for(ordered), max(each.lane for each in ordered) + 1, block, lane_bytes, ordered)


def packed(members: Sequence[Member], block: int) -> list[Member]:
    """The same members in fresh places, as a set that is made anew has them."""
    placed, _ = fill([], map(candidate_of, members), block)
    return placed


def candidate_of(member: Member) -> Candidate:
    """A member that is to get another place."""
    return Candidate(member.kind, member.size, member.name, member.session, member.number)


def named(member: Member, name: bytes) -> Member:
    """A member whose name is known now."""
    return replace(member, name=name)


def _rounded(size: int, block: int) -> int:
    return -(-size // block) * block
