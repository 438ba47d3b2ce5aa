"""Keeping parity: every object that cannot be derived gets a place in a set, and sets follow what comes and goes.

Nothing relies on parity but healing. Whoever deletes an object of the vault first lets go of it here, so that what is
missing though a set has it was lost, and not deleted. The order is: new set, then the old one goes, then the object.
Cut anywhere, everything that is there is in a set, or in two.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from knowngood.core.errors import Damaged, NoSpace
from knowngood.core.ports import Store
from knowngood.core.progress import Progress
from knowngood.vault.epoch import latest_epoch
from knowngood.vault.layout import COMMITS, PACK_FOLDERS, PARITY_LOGS, PARITY_PACKS, name_in, pack_key
from knowngood.vault.parity.lanes import LANES, Candidate, block_for, candidate_of, fill
from knowngood.vault.parity.sets import (
    LARGEST,
    ParitySet,
    folder_of,
    is_as_named,
    level_of,
    list_sets,
    needless,
)
from knowngood.vault.parity.shard import COMMIT
from knowngood.vault.parity.write import renew, write_set
from knowngood.vault.session import Session
from knowngood.vault.vault import Vault

_FULL = 0.85
"""When the sets of a level would do with one less, filled like this, the emptiest is given up: its members move."""


@dataclass
class Kept:
    """What keeping parity did. `waiting` objects have none yet, `left_out` ones cannot have any."""

    sets: int = 0  # made
    objects: int = 0  # that got parity
    read_bytes: int = 0
    written_bytes: int = 0
    waiting: int = 0
    left_out: int = 0


def keep_parity(
    vault: Vault,
    progress: Progress,
    *,
    least: float = 0.0,
    most: int | None = None,
    doubted: Collection[bytes] = frozenset(),
) -> Kept:
    """Bring the parity of a vault up to what is there.

    `least`: of a level that has a set already, so much has to be new, as a part of the largest object of it: who is
    idle for a moment must not write shards anew for every little thing. `most` bounds the bytes that are read; the rest
    is done the next time. Parity objects that are `doubted` (by name) are read, and made anew when they are damaged.

    Nothing happens in a vault that was made before there was parity. Raises Busy, Fenced; NoSpace.
    """
    if not vault.has_parity:
        return Kept()
    vault.descriptor.require("delete")
    with vault.session("keep parity", without_index=True, exclusive=True) as session:
        return _Keeping(vault.store, session, progress).run(least, most, doubted)


def release(session: Session, keys: Collection[str], progress: Progress | None = None) -> None:
    """These objects are about to be deleted: no set may have them. What shared sets with them keeps its parity, where
    there is room for new shards, and where they can still be read; or else gets a new one later.

    Only for who is alone in the vault. Raises Fenced.
    """
    store, gone = session.store, set(keys)
    if not gone:
        return
    folders = {PARITY_LOGS if key.startswith((COMMITS, PACK_FOLDERS[3])) else PARITY_PACKS for key in gone}
    sets, _ = list_sets(store, sorted(folders))
    for each in sets:
        if any(member.key in gone for member in each.table.members):
            keys = set[str]()
            try:
                made = renew(store, each, gone, progress or Progress())
                keys = set(made.keys) if made else set()
            except (Damaged, NoSpace):
                pass  # without: the old one must go all the same
            _drop(session, each, keys)


def _drop(session: Session, old: ParitySet, but: Collection[str] = ()) -> None:
    for key in old.keys:
        if key not in but:
            session.delete(key)


def _one_too_many(sets: list[ParitySet]) -> bool:
    longest = max((each.table.lane_bytes for each in sets), default=0)
    needed = math.ceil(sum(each.bytes for each in sets) / (_FULL * LANES * longest)) if longest else 0
    return needed < len(sets)


class _Keeping:
    def __init__(self, store: Store, session: Session, progress: Progress) -> None:
        self._store = store
        self._session = session
        self._progress = progress
        self._done = Kept()
        epoch = latest_epoch(store)
        self._began = progress.bytes
        self._there: set[str] = set()
        self._unplaced: set[Candidate] = set()  # what cannot become a member
        self._going = {pack_key(kind, pack) for pack, kind in epoch.deleted}
        self._condemned = {pack_key(kind, pack) for pack in epoch.condemned for kind in (1, 2, 3)}

    def run(self, least: float, most: int | None, doubted: Collection[bytes]) -> Kept:
        self._progress.enter("keeping parity")
        there = {each.key: (kind, each.size) for kind, folder in self._folders() for each in self._store.list(folder)}
        self._there = set(there)
        sets, damaged = list_sets(self._store)
        for key in damaged:
            self._session.delete(key)
        for each in needless(sets, there.keys() - self._going):
            _drop(self._session, each)
            sets.remove(each)
        self._drop_damaged(sets, doubted)
        sets = self._mended(sets, there.keys())
        has = {member.key for each in sets for member in each.table.members}
        landed = self._progress.landed_bytes
        self._cover(sets, [each for each in self._fresh(there) if each.at(0, 0).key not in has], least, most)
        self._done.read_bytes = self._progress.bytes - self._began
        self._done.written_bytes = self._progress.landed_bytes - landed
        return self._done

    @staticmethod
    def _folders() -> list[tuple[int, str]]:
        return [*PACK_FOLDERS.items(), (COMMIT, COMMITS)]

    def _fresh(self, there: dict[str, tuple[int, int]]) -> Iterable[Candidate]:
        for key, (kind, size) in there.items():
            if key in self._going or key in self._condemned or not size:
                continue
            if size > LARGEST:
                self._done.left_out += 1
                continue
            try:
                if kind == COMMIT:
                    session, _, number = key.rpartition("/")[2].partition(".")
                    yield Candidate(kind, size, session=bytes.fromhex(session), number=int(number))
                else:
                    yield Candidate(kind, size, name_in(key))
            except (Damaged, ValueError):
                continue  # a strange file, of which a check tells

    def _drop_damaged(self, sets: list[ParitySet], doubted: Collection[bytes]) -> None:
        for each in sets:
            for number, (key, *_) in list(each.shards.items()):
                if name_in(key) in doubted and not is_as_named(self._store, key):
                    self._session.delete(key)
                    del each.shards[number]

    def _mended(self, sets: list[ParitySet], there: Collection[str]) -> list[ParitySet]:
        """Sets that lost objects of their own, or have members that were let go, are made anew from what is there;
        where a member is lost, it is left to healing."""
        kept: list[ParitySet] = []
        for each in sets:
            members = [member.key for member in each.table.members]
            lost = [key for key in members if key not in there and key not in self._going]
            if lost or (each.complete and self._going.isdisjoint(members)):
                kept.append(each)
                continue
            keys: list[str] = []
            try:
                if made := renew(self._store, each, self._going, self._progress, anew=True):
                    keys = made.keys  # they may be the very same ones
                    self._done.sets += 1
            except Damaged:
                kept.append(each)  # something in it is to be healed first
                continue
            _drop(self._session, each, keys)
        return list_sets(self._store)[0] if len(kept) < len(sets) else kept

    # ----------------------------------------------------------------------------------------------- what is new

    def _cover(self, sets: list[ParitySet], fresh: list[Candidate], least: float, most: int | None) -> None:
        """Give places to what is new, level by level, the emptiest sets first."""
        levels: dict[tuple[str, int], list[Candidate]] = {(each.folder, each.level): [] for each in sets}
        for each in fresh:
            levels.setdefault((folder_of(each.kind), level_of(each.size)), []).append(each)
        for place, some in sorted(levels.items()):
            mine = [each for each in sets if (each.folder, each.level) == place and self._has_all(each)]
            mine.sort(key=lambda each: each.bytes)
            donor = mine.pop(0) if _one_too_many(mine) else None
            if donor is None and mine and sum(each.size for each in some) < least * place[1]:
                self._done.waiting += len(some)
                continue
            moving = [candidate_of(member) for member in donor.table.members] if donor else []
            left = [*some, *moving]
            for base in [*mine, *[None] * len(left)]:
                if not left or (most is not None and self._progress.bytes - self._began >= most):
                    break
                left = self._extend(*place, base, left)
            self._done.waiting += len(set(left) - set(moving))
            self._done.objects -= len(moving) - len(set(left) & set(moving))
            if donor and not self._unplaced.union(left) & set(moving):
                _drop(self._session, donor)

    def _has_all(self, one: ParitySet) -> bool:
        return one.complete and self._there.issuperset(member.key for member in one.table.members)

    def _extend(self, folder: str, level: int, base: ParitySet | None, some: list[Candidate]) -> list[Candidate]:
        """Put a set with as many of these as fit in it, beside the members of another one. Returns those left over."""
        block = base.table.block if base else block_for(level)
        members = base.table.members if base else ()
        placed, left = fill(members, some, block)
        if not placed:
            return some
        try:
            made = write_set(
                self._store,
                folder,
                [*members, *placed],
                block,
                self._progress,
                base=base,
                must={each.key for each in members},
            )
        except Damaged:
            if base is None:
                self._done.left_out += len(placed)
                self._unplaced.update(candidate_of(each) for each in placed)
            return some if base else left
        self._done.left_out += len(made.unfit)
        self._unplaced.update(candidate_of(each) for each in placed if each.key in made.unfit)
        self._done.objects += len(placed) - len(made.unfit)
        self._done.sets += 1
        if base is not None:
            _drop(self._session, base, made.keys)
        return left
