"""Healing: what is lost or damaged comes back from parity. A plan first, always.

Nothing replaces anything before it is proven: what comes out of parity is compared with its name, written beside, and
read back; only then the damaged object goes, and the healed one takes its place. Cut anywhere, one of the two is there.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

from blake3 import blake3

from knowngood.core.errors import Damaged, Exists, KnowngoodError, NotFound
from knowngood.core.ids import NAME_BYTES
from knowngood.core.ports import Store
from knowngood.core.progress import Progress
from knowngood.vault.epoch import Epoch, latest_epoch, supersede_runs
from knowngood.vault.index import Index
from knowngood.vault.layout import COMMITS, HEALED, INDEXED, PACK_FOLDERS, healed_key, pack_key
from knowngood.vault.merge import put_run
from knowngood.vault.pack import walk_pack
from knowngood.vault.parity.decode import decode
from knowngood.vault.parity.sets import ParitySet, is_as_named, list_sets
from knowngood.vault.parity.shard import COMMIT, Member
from knowngood.vault.parity.write import renew
from knowngood.vault.record import PlainPoint, PlainSegment, decode_commit
from knowngood.vault.run import make_row
from knowngood.vault.session import Session, list_sessions
from knowngood.vault.vault import Vault

_HEALABLE = (*PACK_FOLDERS.values(), COMMITS)
MISSING, CUT, DAMAGED = "missing", "not of the size that was written", "its bytes are not those that were written"


@dataclass(frozen=True, slots=True)
class Wound:
    """An object that is lost or damaged. `obstacle` says why it cannot be healed now; empty when it can."""

    member: Member
    reason: str
    obstacle: str
    parity: ParitySet | None

    @property
    def key(self) -> str:
        """Where the object lies, or lay."""
        return self.member.key


@dataclass(frozen=True, slots=True)
class HealingPlan:
    """What can be healed, and what cannot. `bare` objects are damaged, and no set has them; `parity` objects are
    damaged themselves, and made anew."""

    wounds: tuple[Wound, ...] = ()
    bare: tuple[str, ...] = ()
    parity: tuple[str, ...] = ()

    @property
    def curable(self) -> list[Wound]:
        """What can be healed."""
        return [each for each in self.wounds if not each.obstacle]


@dataclass
class Healed:
    """What healing did. `left` is what could not be healed: key → why."""

    objects: list[Member] = field(default_factory=list)
    bytes: int = 0
    left: dict[str, str] = field(default_factory=dict)


def plan_healing(vault: Vault, doubted: Collection[str], progress: Progress) -> HealingPlan:
    """Look for what parity sets have and the vault lacks, and at the objects that are `doubted` (keys), and try whether
    it comes back. Nothing is changed."""
    vault.descriptor.require("check")
    with vault.session("plan healing", without_index=True, reading=True):
        return _Planning(vault.store, set(doubted), progress).plan()


class _Planning:
    def __init__(self, store: Store, doubted: set[str], progress: Progress) -> None:
        self._store = store
        self._doubted = doubted
        self._progress = progress
        self._epoch = latest_epoch(store)
        self._going = {pack for pack, _ in self._epoch.deleted}
        self._purged = set() if self._epoch.condemned_at else set(self._epoch.purged)
        self._announced = {card.id for card in list_sessions(store)}

    def plan(self) -> HealingPlan:
        self._progress.enter("looking for what can be healed")
        sizes = {each.key: each.size for folder in _HEALABLE for each in self._store.list(folder)}
        sets, _ = list_sets(self._store)
        have: dict[str, list[tuple[ParitySet, Member]]] = {}
        for parity in sets:
            for member in parity.table.members:
                have.setdefault(member.key, []).append((parity, member))
        wounds = [
            wound
            for key, places in have.items()
            if (reason := self._wrong(places[0][1], sizes.get(key)))
            and (wound := self._wound(places, reason)) is not None
        ]
        shards = {key for parity in sets for key in parity.keys}
        bare = sorted(key for key in (self._doubted & sizes.keys()) - have.keys() if not is_as_named(self._store, key))
        own = sorted(key for key in self._doubted & shards if not is_as_named(self._store, key))
        return HealingPlan(tuple(sorted(wounds, key=lambda each: each.key)), tuple(bare), tuple(own))

    def _wrong(self, member: Member, size: int | None) -> str:
        if member.kind != COMMIT and (member.name in self._going or member.name in self._purged):
            return ""
        if size is None:
            return MISSING
        if size != member.size:
            return CUT
        if member.key in self._doubted and not holds(self._store, member):
            return DAMAGED
        return ""

    def _wound(self, places: list[tuple[ParitySet, Member]], reason: str) -> Wound | None:
        """What is wrong and whether it can be healed; None for a commit that went because all it held is purged."""
        obstacle = ""
        for parity, member in places:
            try:
                data = aside(self._store, member) or decode(self._store, parity, member)
            except KnowngoodError as wrong:
                obstacle = wrong.message
                continue
            if member.kind == COMMIT:
                if holds_purged_only(self._epoch, member, data):
                    return None
                if member.session in self._announced:
                    return Wound(member, reason, "its session is still announced; try again when it has ended", parity)
            return Wound(member, reason, "", parity)
        return Wound(places[0][1], reason, obstacle, places[0][0])


def holds_purged_only(epoch: Epoch, member: Member, data: bytes) -> bool:
    """Whether a commit holds points and segments, and all of them are gone for good: it must not come back."""
    commit = decode_commit(data, member.session, member.number).commit
    held = {each.id for each in commit.records if isinstance(each, PlainPoint)}
    held |= {each.pack for each in commit.records if isinstance(each, PlainSegment)}
    return bool(held) and not epoch.condemned_at and held <= set(epoch.purged)


def purged_with(store: Store, epoch: Epoch, parity: ParitySet, member: Member) -> bool:
    """The same of a commit that is missing, as far as it can be told."""
    try:
        return holds_purged_only(epoch, member, aside(store, member) or decode(store, parity, member))
    except KnowngoodError:
        return False


def heal(vault: Vault, plan: HealingPlan, progress: Progress) -> Healed:
    """Carry out a plan. Raises Busy when somebody else keeps the vault in order, Fenced."""
    vault.descriptor.require("delete")
    done = Healed()
    with vault.session("heal", without_index=True, exclusive=True) as session:
        progress.enter("healing")
        announced = {card.id for card in list_sessions(vault.store)}
        for wound in plan.wounds:
            if wound.obstacle or wound.parity is None:
                done.left[wound.key] = wound.obstacle
            elif wound.member.kind == COMMIT and wound.member.session in announced:
                done.left[wound.key] = "its session is still announced; try again when it has ended"
            else:
                _heal(session, wound.parity, wound.member, done)
            progress.files += 1
        done.left |= dict.fromkeys(plan.bare, "it has no parity")
        for key in plan.parity:
            session.delete(key)
        _clear_beside(session)
        _place(vault.store, [each for each in done.objects if each.kind in INDEXED])
        _give_up(session, plan, progress)
    return done


def _heal(session: Session, parity: ParitySet, member: Member, done: Healed) -> None:
    store, beside = session.store, healed_key(member.name)
    try:
        if holds(store, member):
            return  # somebody else was faster
        data = aside(store, member)
        if data is None:
            data = decode(store, parity, member)
            with suppress(NotFound):
                store.stat(member.key)
                session.delete(beside)
                store.put(beside, [data])
        if aside(store, member) is not None:
            session.delete(member.key)
        with suppress(Exists):
            store.put(member.key, [data])
        if not holds(store, member):
            raise Damaged("it does not read back as it was written", hint="test the vault's disk")
        session.delete(beside)
    except KnowngoodError as wrong:
        session.require_announced()
        done.left[member.key] = wrong.message
    else:
        done.objects.append(member)
        done.bytes += member.size


def aside(store: Store, member: Member) -> bytes | None:
    """The healed object that an interrupted healing left, if it is as its name says."""
    with suppress(KnowngoodError):
        data = store.get(healed_key(member.name))
        if blake3(data).digest() == member.name:
            return data
    return None


def holds(store: Store, member: Member) -> bool:
    """Whether an object is there, as it was written."""
    with suppress(KnowngoodError):
        return blake3(store.get(member.key)).digest() == member.name
    return False


def _clear_beside(session: Session) -> None:
    """An interrupted healing left objects beside the places that they have taken already."""
    store = session.store
    beside = {each.key for each in store.list(HEALED)}
    for parity in list_sets(store)[0] if beside else ():
        for member in parity.table.members:
            if healed_key(member.name) in beside and holds(store, member):
                session.delete(healed_key(member.name))


def _place(store: Store, packs: list[Member]) -> None:
    """The index may have forgotten what was damaged: what is whole again has its places again."""
    if not packs:
        return
    epoch = latest_epoch(store)
    try:
        index = Index.open(store, epoch)
    except Damaged:
        return  # it has to be rebuilt, and then it is complete
    rows: list[bytes] = []
    for pack in packs:
        key = pack_key(pack.kind, pack.name)
        for frame in walk_pack(lambda offset, length, key=key: store.get(key, offset, length), pack.size):
            for at in range(0, len(frame.names), NAME_BYTES):
                name = frame.names[at : at + NAME_BYTES]
                row = make_row(name, pack.name, frame.offset, frame.header.total_bytes)
                if all(row != each for *_, each in index.find(name)):
                    rows.append(row)
    if rows:
        _in_force(store, epoch, put_run(store, {each.name: each.kind for each in packs}, sorted(set(rows))))


def _in_force(store: Store, epoch: Epoch, run: bytes) -> None:
    """A run of the same rows may have been superseded once, and would not count."""
    if run in epoch.superseded:
        supersede_runs(store, epoch, set(epoch.superseded) - {run})


def _give_up(session: Session, plan: HealingPlan, progress: Progress) -> None:
    """Sets with members that are missing for good are made anew, so that the others are protected again."""
    lost: dict[bytes, tuple[ParitySet, set[str]]] = {}
    for wound in plan.wounds:
        if wound.obstacle and wound.reason == MISSING and wound.parity is not None and wound.member.kind != COMMIT:
            lost.setdefault(wound.parity.id, (wound.parity, set()))[1].add(wound.key)
    for parity, keys in lost.values():
        with suppress(Damaged):
            made = renew(session.store, parity, keys, progress, anew=True)
            for key in parity.keys:
                if made is None or key not in made.keys:
                    session.delete(key)
