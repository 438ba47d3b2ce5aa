"""The survey of a collection: what points and logs need, where it lies, and whether all of it can be told."""

from __future__ import annotations

from dataclasses import dataclass

from knowngood.core.errors import Damaged, KnowngoodError, Unaccounted
from knowngood.core.ids import NAME_BYTES
from knowngood.core.progress import Progress
from knowngood.seal.keys import PrivateKey
from knowngood.vault.epoch import Epoch
from knowngood.vault.harm import Harm
from knowngood.vault.index import Index
from knowngood.vault.layout import PACK_FOLDERS, name_in, pack_key
from knowngood.vault.losses import find_losses
from knowngood.vault.mark import Marker
from knowngood.vault.reader import Reader
from knowngood.vault.record import PlainSegment
from knowngood.vault.run import PACK_PREFIX, PREFIX_BYTES
from knowngood.vault.segment import holds_all, segment_refs
from knowngood.vault.standing import Standing, read_standing
from knowngood.vault.vault import Vault

_CHECK = "run: knowngood vault check"


@dataclass(frozen=True, slots=True, repr=False)
class Known:
    """What whoever collects knows beyond the vault. Packs by name: `worn` ones, damaged where nothing leads to, are
    rewritten however much of them is needed; of what lies twice, the copy in a `doubted` one is the one to go.

    With the `private` key, collection goes on beside lost chunks; without, it cannot tell them from lost pages. And
    with it, groups of which a part is needed are sifted; without, they stay whole.
    """

    worn: frozenset[bytes] = frozenset()
    doubted: frozenset[bytes] = frozenset()
    private: PrivateKey | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found by marking."""

    standing: Standing
    purged: set[bytes]
    index: Index
    marker: Marker
    lost: frozenset[bytes]  # chunks that are nowhere: the first 16 bytes of their names
    live: dict[bytes, int]  # pack, by its first 8 bytes → bytes of it that are needed
    packs: dict[bytes, tuple[int, int]]  # name → (kind, size), as listed


class Surveyor:
    """Makes surveys of one vault. `now` is the moment by which an undo window must have ended (ns)."""

    def __init__(self, vault: Vault, progress: Progress, now: int, known: Known) -> None:
        self._vault = vault
        self._store = vault.store
        self._progress = progress
        self._now = now
        self._known = known

    def survey(self, epoch: Epoch) -> Survey:
        """Mark what is needed. Raises Damaged when it cannot be told; Unaccounted when something lost may hide it."""
        self._progress.enter("marking")
        standing = self._standing()
        purged = self._purged(epoch, standing)
        index = Index.open(self._store, epoch, settled=True)
        if not all(run.intact() for run in index.runs):  # merged, a damaged row could not be told from a good one
            raise Damaged("the index is damaged; nothing was deleted", hint="run: knowngood vault rebuild")
        packs: dict[bytes, tuple[int, int]] = {}
        for kind, folder in PACK_FOLDERS.items():
            for each in self._store.list(folder):
                packs[name_in(each.key)] = (kind, each.size)
        there = {pack[:PACK_PREFIX] for pack in packs}
        doubted = {pack[:PACK_PREFIX] for pack in self._known.doubted | (index.packs().keys() - packs.keys())}
        marker = Marker(self._store, index, frozenset(doubted))
        needed = _Needed(standing.roots_of(without=purged), _segments(standing, purged))
        for root in needed.roots:
            marker.reach(root)
            self._progress.files += 1
        shut = [each for each in needed.segments if each.pack not in packs or not self._reach_log(each, marker)]
        losses = find_losses(marker, index, there, self._pages(index))
        if losses.hiding or shut:
            raise self._unaccounted(needed, losses.hiding, shut, index, packs)
        live = marker.live_bytes(sifted=self._known.private is not None) | {
            each.pack[:PACK_PREFIX]: packs[each.pack][1] for each in needed.segments
        }
        return Survey(standing, purged, index, marker, losses.chunks, live, packs)

    def _standing(self) -> Standing:
        standing = read_standing(self._store, settled=True)
        if standing.damaged or standing.rootless():
            unknown = len(standing.damaged) + len(standing.rootless())
            raise Damaged(
                f"{unknown} commits cannot be read in full, so what they need is unknown; nothing was deleted",
                hint=_CHECK,
            )
        return standing

    def _purged(self, epoch: Epoch, standing: Standing) -> set[bytes]:
        if epoch.condemned_at:  # what was decided stands, but for what has been brought back since
            decided = set(epoch.purged) & standing.there
            return decided & (standing.hidden_until.keys() | self._folded(standing))
        unproven = standing.replaced.keys() - self._folded(standing)
        return standing.purgeable(self._now, unproven) | (set(epoch.purged) & standing.there)

    def _folded(self, standing: Standing) -> set[bytes]:
        """The replaced segments whose frames certainly lie in the ones that replaced them."""
        parts: dict[bytes, list[PlainSegment]] = {}
        for part, whole in standing.replaced.items():
            parts.setdefault(whole, []).append(standing.segments[part])
        proven = (each for whole, each in parts.items() if holds_all(self._store, standing.segments[whole], each))
        return {part.pack for each in proven for part in each}

    def _reach_log(self, segment: PlainSegment, marker: Marker) -> bool:
        """Mark what a segment refers to. False when it cannot be read."""
        try:
            for refs in segment_refs(self._store, segment):
                marker.reach_logged(refs)
        except KnowngoodError:
            return False
        return True

    def _pages(self, index: Index) -> Reader | None:
        private, vault = self._known.private, self._vault
        return Reader(self._store, index, private, vault.writer.namer, vault.id) if private else None

    def _unaccounted(
        self,
        needed: _Needed,
        hiding: frozenset[bytes],
        shut: list[PlainSegment],
        index: Index,
        packs: dict[bytes, tuple[int, int]],
    ) -> Unaccounted:
        """The error that says which points and logs need what is not there."""
        harm = Harm(self._store)
        for _ in harm.survey(index, {pack_key(kind, pack): size for pack, (kind, size) in packs.items()}):
            pass  # what it finds, it keeps
        touched: dict[bytes, None] = {}
        for root, points in needed.roots.items():
            if any(name[:PREFIX_BYTES] in hiding for name, _ in harm.blame(root, index)):
                touched |= dict.fromkeys(points)
        closed = {each.pack for each in shut}
        logs = (each for each in needed.segments if each.pack in closed or self._refers_to(each, hiding))
        return Unaccounted(
            f"{len(hiding) + len(shut)} objects that points or logs need are missing or unreadable, and may hide what "
            "else is needed; nothing was deleted",
            tuple(touched),
            tuple(dict.fromkeys(each.timeline for each in logs)),
            hint=_CHECK,
        )

    def _refers_to(self, segment: PlainSegment, names: frozenset[bytes]) -> bool:
        for refs in segment_refs(self._store, segment) if names else ():
            if any(refs[at : at + PREFIX_BYTES] in names for at in range(0, len(refs), NAME_BYTES)):
                return True
        return False


@dataclass(frozen=True, slots=True)
class _Needed:
    """What is not purged, and leads to all else that is needed."""

    roots: dict[bytes, list[bytes]]  # root page → the points that need it
    segments: list[PlainSegment]


def _segments(standing: Standing, purged: set[bytes]) -> list[PlainSegment]:
    return [segment for segment in standing.segments.values() if segment.pack not in purged]
