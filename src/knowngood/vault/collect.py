"""Collection: take away what no point needs, beside readers and writers, by steps that may be cut anywhere.

1. mark what the points need; condemn packs that hold nothing, or too little, of it (a new epoch)
2. wait until every session that began before that epoch has gone; fence those whose process is dead
3. mark again: commits may have arrived; copy what is still needed out of the condemned packs
4. put the index without those packs (a new epoch); only then delete them, the old runs and the purged commits

Without room for 3, only packs that hold nothing needed go; the index may tell of them until it is merged the next time.
Where something that is needed is lost, a page or what may be one, nothing is deleted: it may need anything. Where
that is a chunk for certain, what can still hold a copy of it stays, and the rest goes on.
Every step is safe to repeat. Between 1 and 4 other processes work on as ever; they merely do not refer to condemned
packs. There is one collector at a time. No step looks at a clock to decide what is safe (the undo window decides what
is *wanted*). docs/format.md, section Sessions, epochs and collection, argues why this is safe (INV-1 to INV-11).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from knowngood.core.errors import Busy, Damaged, Exists, KnowngoodError, NoSpace, NotFound
from knowngood.core.instants import now_ns
from knowngood.core.progress import Progress
from knowngood.vault.epoch import Epoch, latest_epoch, put_epoch
from knowngood.vault.layout import COMMITS, INDEX, commit_place, name_in, pack_key, run_key
from knowngood.vault.losses import holds_none
from knowngood.vault.merge import RUN_ROWS, merge_runs
from knowngood.vault.opener import Opener
from knowngood.vault.pack import PackKind, pack_head
from knowngood.vault.parity.keep import release
from knowngood.vault.repack import Sifting, repack
from knowngood.vault.reserve import refill_reserve, with_reserve
from knowngood.vault.run import PACK_PREFIX, row_frame
from knowngood.vault.session import FOLLOWING, Session, SessionCard, fence, is_dead, list_sessions
from knowngood.vault.sift import Sifter
from knowngood.vault.standing import Standing, read_standing
from knowngood.vault.survey import Known, Survey, Surveyor
from knowngood.vault.vault import Vault

WORTH = 0.25  # a pack is rewritten when at least this share of it is no longer needed
MERGE_FROM = 8  # runs
_PATIENCE = 3.0  # seconds: those who follow stay for about one, and come again at once
_LOOK = 0.05


@dataclass
class Collected:
    """What a collection did, or with `dry_run` would do. Bytes."""

    packs: int = 0
    needed_bytes: int = 0
    freed_bytes: int = 0
    deleted_packs: int = 0
    copied_bytes: int = 0
    purged_points: int = 0
    purged_segments: int = 0
    spared_packs: int = 0  # worth rewriting, but damaged: left as they are
    lost_chunks: int = 0  # needed, and nowhere; nothing lies below them
    fenced: int = 0
    waiting_for: list[SessionCard] = field(default_factory=list)


_NOTHING = Known()


def collect(
    vault: Vault,
    progress: Progress,
    *,
    dry_run: bool = False,
    now: int | None = None,
    known: Known = _NOTHING,
) -> Collected:
    """Collect once. Returns early, with `waiting_for`, when sessions that began earlier are still at work.

    Raises Damaged before anything is deleted when what is needed cannot be told, and Unaccounted when that is because
    something else that is needed is lost; Busy when another collector was faster; NoSpace when the disk is full and the
    reserve does not suffice. `now` is the moment by which an undo window must have ended for its points to go; the wall
    clock's by default.
    """
    vault.descriptor.require("delete")
    moment = now_ns() if now is None else now

    def once() -> Collected:
        with vault.session("collect", without_index=True, exclusive=True, reading=dry_run) as session:
            return _Collection(vault, session, progress, moment, known).run(dry_run=dry_run)

    try:
        done = once() if dry_run else with_reserve(vault.store, once)
    except Exists:
        raise Busy("another collector is at work", hint="run the command again when it has finished") from None
    except Busy:
        raise  # the other one may need the room
    except BaseException:
        with suppress(KnowngoodError):
            if not dry_run:
                refill_reserve(vault.store)
        raise
    if not dry_run:
        refill_reserve(vault.store)
    return done


class _Collection:
    def __init__(self, vault: Vault, session: Session, progress: Progress, now: int, known: Known) -> None:
        self._vault = vault
        self._known = known
        self._surveyor = Surveyor(vault, progress, now, known)
        self._me = session
        self._store = vault.store
        self._progress = progress
        self._done = Collected()

    def run(self, *, dry_run: bool) -> Collected:
        epoch = latest_epoch(self._store, settled=not dry_run)
        if not dry_run:
            self._living_sessions()
            self._delete(epoch)
        survey = self._survey(epoch)
        if dry_run:
            self._estimate(survey)
            return self._done
        if not epoch.condemned_at:
            epoch, work = self._condemn(epoch, survey)
            if not work:
                return self._done
        blockers = self._blockers(epoch.condemned_at)
        if blockers:
            self._done.waiting_for = blockers
            return self._done
        if not self._still_true(survey):
            survey = self._survey(epoch)
        self._remove(epoch, survey)
        return self._done

    # ------------------------------------------------------------------------------------------------- marking

    def _survey(self, epoch: Epoch) -> Survey:
        survey = self._surveyor.survey(epoch)
        self._done.lost_chunks = len(survey.lost)
        return survey

    def _sifting(self) -> Sifting | None:
        private, vault = self._known.private, self._vault
        if private is None:
            return None
        opener = Opener(self._store, private, vault.id)
        return Sifting(Sifter(vault.writer.namer, opener.open), vault.writer.public, vault.id)

    def _still_true(self, survey: Survey) -> bool:
        """Whether the vault is as it was surveyed. Sessions that have gone since may have left commits and runs."""
        if {each.key for each in self._store.list(COMMITS)} != survey.standing.keys.keys():
            return False
        runs = {name_in(each.key) for each in self._store.list(INDEX)}
        return runs == {run.name for run in survey.index.runs}

    def _wanted(self, survey: Survey) -> tuple[set[bytes], set[bytes]]:
        """(packs that nothing needs, packs worth rewriting). Heads do not count: a rewritten pack has one as well."""
        dead: set[bytes] = set()
        poor: set[bytes] = set()
        for pack, (kind, size) in survey.packs.items():
            live = survey.live.get(pack[:PACK_PREFIX], 0)
            if not live:
                dead.add(pack)
            elif kind == PackKind.SEGMENT:
                continue  # never rewritten
            elif pack in self._known.worn or self._is_poor(pack, kind, size, live):
                poor.add(pack)
        if survey.lost:
            return self._sure(dead, survey), self._sure(poor, survey)
        return dead, poor

    def _sure(self, packs: set[bytes], survey: Survey) -> set[bytes]:
        """Those that certainly hold no copy of what is lost, not even a damaged one. Each is read in full, but for
        segments: what is lost are chunks, and they hold none."""
        kinds = {pack: PackKind(survey.packs[pack][0]) for pack in packs}
        return {
            pack
            for pack, kind in kinds.items()
            if kind == PackKind.SEGMENT or holds_none(self._store, pack, kind, survey.lost)
        }

    def _is_poor(self, pack: bytes, kind: int, size: int, live: int) -> bool:
        return live < (1 - WORTH) * size and live < (1 - WORTH) * (size - self._head(kind, pack))

    def _head(self, kind: int, pack: bytes) -> int:
        key = pack_key(kind, pack)
        try:
            return pack_head(lambda offset, length: self._store.get(key, offset, length)).size
        except Damaged:
            return 0  # then so is its first key, and the copying will find it out

    def _estimate(self, survey: Survey) -> None:
        dead, poor = self._wanted(survey)
        self._done.packs = len(survey.packs)
        self._done.needed_bytes = sum(survey.live.values())
        self._done.deleted_packs = len(dead) + len(poor)
        self._done.copied_bytes = sum(survey.live[pack[:PACK_PREFIX]] for pack in poor)
        self._done.freed_bytes = sum(survey.packs[pack][1] for pack in dead | poor) - self._done.copied_bytes
        self._note_purged(survey)

    def _note_purged(self, survey: Survey) -> None:
        self._done.purged_points = len(survey.purged & survey.standing.points.keys())
        self._done.purged_segments = len(survey.purged & survey.standing.segments.keys())

    # ----------------------------------------------------------------------------------------------- the steps

    def _condemn(self, epoch: Epoch, survey: Survey) -> tuple[Epoch, bool]:
        dead, poor = self._wanted(survey)
        self._done.packs, self._done.needed_bytes = len(survey.packs), sum(survey.live.values())
        many_runs = len(survey.index.runs) > MERGE_FROM + survey.index.rows // RUN_ROWS
        if not (dead or poor or survey.purged or many_runs):
            return epoch, False
        number = epoch.number + 1
        new = Epoch(
            number=number,
            superseded=epoch.superseded,
            condemned=tuple(sorted(dead | poor)),
            condemned_at=number,
            deleted=epoch.deleted,
            purged=tuple(sorted(survey.purged)),
        )
        put_epoch(self._store, new)
        return new, True

    def _living_sessions(self) -> list[SessionCard]:
        """The sessions of others; those that are dead are fenced."""
        living: list[SessionCard] = []
        for card in list_sessions(self._store):
            if card.id == self._me.id:
                continue
            if is_dead(card):
                fence(self._store, card, self._vault.writer.public, self._vault.id, now_ns())
                self._done.fenced += 1
            else:
                living.append(card)
        return living

    def _blockers(self, condemned_at: int) -> list[SessionCard]:
        """The living sessions that began before. Where only followers are left, their leaving is waited for: under load
        there is always one, and it is never the same for long."""
        end = time.monotonic() + _PATIENCE
        while True:
            found = [card for card in self._living_sessions() if card.epoch < condemned_at]
            if not found or any(card.purpose != FOLLOWING for card in found) or time.monotonic() > end:
                return found
            time.sleep(_LOOK)

    def _remove(self, epoch: Epoch, survey: Survey) -> None:
        # A pack that was being written when it was condemned may be worth keeping by now.
        dead, poor = self._wanted(survey)
        dead &= set(epoch.condemned)
        poor &= set(epoch.condemned)
        try:
            going, runs = self._rewrite(survey, dead, poor)
            deleted = dict.fromkeys(going)
            old_runs = {*epoch.superseded, *(run.name for run in survey.index.runs)} - runs
        except NoSpace:
            if not dead:
                raise
            going, deleted, old_runs = dead, dict.fromkeys([*dict(epoch.deleted), *dead]), set(epoch.superseded)
        kinds = {pack: kind for pack, (kind, _) in survey.packs.items()} | dict(epoch.deleted)
        listed = {name_in(each.key) for each in self._store.list(INDEX, settled=True)}  # others are gone for good
        new = Epoch(
            number=epoch.number + 1,
            superseded=tuple(sorted(old_runs & listed)),
            deleted=tuple((pack, kinds[pack]) for pack in sorted(deleted)),
            purged=tuple(sorted(survey.purged)),
        )
        put_epoch(self._store, new)
        self._done.deleted_packs = len(going)
        self._done.freed_bytes = sum(survey.packs[pack][1] for pack in going) - self._done.copied_bytes
        self._note_purged(survey)
        self._delete(new)

    def _rewrite(self, survey: Survey, dead: set[bytes], poor: set[bytes]) -> tuple[set[bytes], set[bytes]]:
        """Copy what is needed; put the index as it is to be. Returns the packs that may go, and the runs that stay."""
        self._progress.enter("copying what is needed")
        kinds = {pack: survey.packs[pack][0] for pack in poor}
        moved = repack(self._store, survey.marker, kinds, self._progress, self._sifting())
        # Among them may be what an interrupted collection left, and this copying has just made again.
        going = (dead | poor) - moved.packs.keys() - moved.spared
        self._done.copied_bytes, self._done.spared_packs = moved.copied_bytes, len(moved.spared)
        self._progress.enter("merging the index")
        stay = {pack[:PACK_PREFIX] for pack in survey.packs.keys() - going}
        merged = merge_runs(self._store, survey.index, lambda row: row_frame(row)[0] in stay)
        return going, {*merged, *moved.runs}

    def _there(self, keys: Iterable[str]) -> list[str]:
        """Those of these objects that have not gone already."""
        found: list[str] = []
        for key in keys:
            with suppress(NotFound):
                found.append(self._store.stat(key).key)
        return found

    def _delete(self, epoch: Epoch) -> None:
        """Carry out what an epoch says is gone. Nothing refers to any of it any more; repeating does no harm."""
        self._progress.enter("deleting")
        packs = [pack_key(kind, pack) for pack, kind in epoch.deleted]
        release(self._me, self._there(packs))
        for key in packs:
            self._me.delete(key)
        for name in epoch.superseded:
            self._me.delete(run_key(name))
        if epoch.purged and not epoch.condemned_at:
            self._delete_commits(set(epoch.purged))
        if all(card.id == self._me.id for card in list_sessions(self._store)):
            self._store.sweep()

    def _delete_commits(self, gone: set[bytes]) -> None:
        """Delete the commits that hold or speak of what is gone only, and those that say nothing any more.

        Commits of a session that is still announced stay: a fence goes to its first free number, and would come
        too early (INV-3). Such ones are hidden, judged or thin something; the next collection takes them.
        """
        standing = read_standing(self._store, settled=True)
        spent: set[str] = set()
        if not standing.damaged:
            spent = standing.spent
            if unheard := _unheard_of(standing):
                # A listing may miss what was put while it was made, and show what came after that: the next has both.
                gone |= unheard & _unheard_of(read_standing(self._store, settled=True))
        announced = {card.id for card in list_sessions(self._store)}
        staying = {key for key in standing.keys if commit_place(key)[0] in announced}
        gone = gone.difference(*(standing.keys[key] for key in staying & standing.homes))
        # Points go before what hides them: half done, none of them shows itself again.
        ordered = sorted(standing.keys.keys() - staying, key=lambda key: key not in standing.homes)
        keys = [key for key in ordered if key in spent or (standing.keys[key] and gone.issuperset(standing.keys[key]))]
        release(self._me, keys)
        for key in keys:
            self._me.delete(key)


def _unheard_of(standing: Standing) -> set[bytes]:
    """Points and segments that are spoken of and no commit holds any more."""
    return {point for about in standing.keys.values() for point in about if point not in standing.there}
