"""Checking: is everything there that points need, and is every byte as it was written? No key is needed.

With `read_data`, packs are read in full, those first that were read longest ago; what was read is remembered pack by
pack, so that an interrupted check goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from blake3 import blake3

from knowngood.core.errors import Damaged, KnowngoodError, NotFound
from knowngood.core.ids import short
from knowngood.core.instants import now_ns
from knowngood.core.ports import Store
from knowngood.core.progress import Progress
from knowngood.core.sizes import MIB
from knowngood.seal.keys import PrivateKey
from knowngood.vault.catalog import Catalog
from knowngood.vault.descriptor import KeyFile, small_objects, unchecked
from knowngood.vault.epoch import epoch_numbers, latest_epoch, latest_epoch_or_blank, read_epoch
from knowngood.vault.finding import Finding
from knowngood.vault.forget import GONE, GOOD, SPENT
from knowngood.vault.harm import Harm, Wrong as Hurt
from knowngood.vault.index import Index
from knowngood.vault.layout import (
    DESCRIPTOR,
    INDEX,
    INDEXED,
    PACK_FOLDERS,
    PARITY_LOGS,
    PARITY_PACKS,
    SEGMENTS,
    SESSIONS,
    epoch_key,
    name_in,
    run_key,
)
from knowngood.vault.log_check import LogCheck, Wrong
from knowngood.vault.log_reader import LogReader
from knowngood.vault.mark import Marker
from knowngood.vault.parity.look import RENEW, parity_findings
from knowngood.vault.session import read_card
from knowngood.vault.standing import Standing, read_standing
from knowngood.vault.vault import Vault

_PIECE = 8 * MIB
_REBUILD = "rebuild it with: knowngood vault rebuild"
_VANISHED = "gone, though this home never heard that its point was expired; to forget it: knowngood vault rebuild"
_ROUNDS = 3
_READ = (*PACK_FOLDERS.values(), PARITY_PACKS, PARITY_LOGS)


@dataclass
class Checked:
    """What a check found. Bytes."""

    points: int = 0
    pages: int = 0
    packs: int = 0
    segments: int = 0
    read_packs: int = 0
    read_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    read_bad: set[bytes] = field(default_factory=set)  # names of what was read and is damaged
    spent_packs: list[str] = field(default_factory=list)  # damaged, and the index leads nobody to the damage


def check(
    vault: Vault,
    catalog: Catalog,
    progress: Progress,
    *,
    read_data: bool = False,
    limit: int | None = None,
    only: Collection[bytes] | None = None,
    private: PrivateKey | None = None,
) -> Checked:
    """Check a vault; findings are collected, never raised. `limit` bounds the bytes that `read_data` reads; where there
    is `only`, it reads the packs of these names and no others.

    With `private`, what segments hold is compared with their names as well.
    """
    vault.descriptor.require("check")
    with vault.session("check", without_index=True, reading=True):
        logs = LogCheck(vault.store, LogReader(vault, catalog, private).open if private else None)
        checking = _Checking(vault.store, catalog, progress, logs)
        checking.small_objects()
        if read_data:
            checking.data(limit, only)
        checking.points()
        return checking.done


def read_back(
    vault: Vault, catalog: Catalog, progress: Progress, only: Collection[bytes], limit: int, pace: Callable[[int], None]
) -> Checked:
    """Read these objects in full, those first that were read longest ago, up to about `limit` bytes; `pace` is called
    after each piece with its length. What is damaged is remembered. Only then the points are looked at, to name what it
    costs."""
    vault.descriptor.require("check")
    with vault.session("read back", without_index=True, reading=True):
        checking = _Checking(vault.store, catalog, progress, LogCheck(vault.store, None), pace)
        checking.data(limit, only)
        if checking.done.read_bad:
            checking.points()
        return checking.done


def readable(store: Store) -> Iterator[tuple[bytes, int]]:
    """Name and size of everything that can be read back: packs, segments, parity. Strange files are left out."""
    for each in (each for folder in _READ for each in store.list(folder)):
        with suppress(Damaged):
            yield name_in(each.key), each.size


class _Checking:
    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        progress: Progress,
        logs: LogCheck,
        pace: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._pace = pace
        self._store = store
        self._catalog = catalog
        self._progress = progress
        self._harm = Harm(store)
        self._logs = logs
        self._bad: dict[bytes, tuple[str, str]] = {}  # pack → (key, what reading it found)
        self._told: set[bytes] = set()  # packs whose damage was found and forgotten before
        self.done = Checked()

    def _report(self, what: str, key: str, reason: str, points: list[bytes] | None = None) -> None:
        self.done.findings.append(Finding(what, key, reason, points or []))

    def _try(self, what: str, key: str, act: Callable[[], object]) -> None:
        try:
            act()
        except KnowngoodError as wrong:
            self._report(what, key, f"{wrong.message}; {wrong.hint}" if wrong.hint else wrong.message)

    def small_objects(self) -> None:
        """Descriptor and key files, both copies of each; epochs; who is announced."""
        self._progress.enter("checking small objects")
        for pair in small_objects(self._store):
            for key in pair:
                if pair[0] == DESCRIPTOR:
                    self._try("descriptor", key, lambda key=key: unchecked(self._store.get(key)))
                else:
                    self._try("key file", key, lambda key=key: KeyFile.decode(unchecked(self._store.get(key))))
        for number in epoch_numbers(self._store):
            self._try(
                "epoch", epoch_key(number), lambda number=number: _gone_is_fine(lambda: read_epoch(self._store, number))
            )
        for each in list(self._store.list(SESSIONS)):
            self._try("session", each.key, lambda key=each.key: _gone_is_fine(lambda: read_card(self._store, key)))

    # ---------------------------------------------------------------------------------------------------- points

    def points(self) -> None:
        """Every point: are its pages intact, and is everything there that they refer to?

        A collector may move things in the middle: then what was found is looked for again.
        """
        self._progress.enter("checking points")
        so_far = list(self.done.findings)
        for _ in range(_ROUNDS):
            number = latest_epoch_or_blank(self._store).number
            self.done.findings = list(so_far)
            self._structure()
            if self.done.findings == so_far or latest_epoch_or_blank(self._store).number == number:
                return

    def _structure(self) -> None:
        standing = read_standing(self._store)
        for key, reason in standing.damaged.items():
            self._report("commit", key, reason)
        for point, key in self._catalog.vanished().items():
            self._report("commit", key, _VANISHED, [point])
        self.done.points = len(standing.points)
        for pack, (timeline, key) in self._catalog.log.vanished().items():
            reason = f"its segment {short(pack)} is gone, though this home never heard that it was thinned"
            self.done.findings.append(Finding("commit", key, reason, timelines=[timeline], lasting=True))
        index = self._index()
        if index is None:
            self._judge_bad_packs(standing, lambda _: False)
            self._check_logs(standing, lambda _: None)
            return
        sizes = {each.key: each.size for kind in INDEXED for each in self._store.list(PACK_FOLDERS[kind])}
        self.done.packs = len(sizes)
        for key, reason in self._harm.survey(index, sizes):
            self._report("pack", key, reason)
        self._judge_bad_packs(standing, self._harm.spent)
        for point in standing.rootless():
            self._report("point", point.hex(), "its checkpoint is in no commit", [point])
        self._reachable(standing, index)
        self._check_logs(standing, lambda name: self._harm.reason_of(name, index))
        self.done.findings += parity_findings(self._store)

    def _check_logs(self, standing: Standing, wrong: Wrong) -> None:
        self._progress.enter("checking logs")
        self.done.segments = len(standing.segments) - len(standing.replaced)
        self.done.findings += self._logs.findings(standing, self._purged(), wrong)

    def _judge_bad_packs(self, standing: Standing, spent: Callable[[bytes], bool]) -> None:
        """A damaged pack is told of once. After that it hurts nobody, if the index has forgotten what is damaged; nor
        does a segment that no commit holds."""
        held = standing.segments.keys() - self._purged() - standing.replaced.keys()
        self.done.spent_packs.clear()
        for pack, (key, reason) in self._bad.items():
            unused = pack not in held if key.startswith(SEGMENTS) else spent(pack)
            if unused and pack in self._told:
                self.done.spent_packs.append(key)
                self._catalog.note_checked([(pack, now_ns(), SPENT)])
            else:
                self.done.findings.append(Finding("pack", key, reason, lasting=pack in held))

    def _index(self) -> Index | None:
        """The index, every byte of it as it was written; None when nothing more can be told before a rebuild."""
        try:
            index = Index.open(self._store, latest_epoch(self._store))
        except KnowngoodError as wrong:
            self._report("index", INDEX, f"{wrong.message}; {_REBUILD}")
            return None
        bad = [run for run in index.runs if not run.intact()]
        for run in bad:
            self._report("index", run_key(run.name), f"damaged; {_REBUILD}")
        return None if bad else index

    def _purged(self) -> set[bytes]:
        """What is gone for good, though its commit may still be there."""
        epoch = latest_epoch_or_blank(self._store)
        return set(epoch.purged) if not epoch.condemned_at else set()

    def _reachable(self, standing: Standing, index: Index) -> None:
        needed = standing.roots_of(without=self._purged())
        self._progress.total_files = len(needed)
        marker = Marker(self._store, index)
        for root in needed:
            marker.reach(root)
            self._progress.files += 1
        self.done.pages = marker.pages
        if not (marker.missing or marker.unreadable or self._harm.any):
            return
        wrong: dict[Hurt, list[bytes]] = {}
        for root, points in needed.items():
            for each in self._harm.blame(root, index):
                wrong.setdefault(each, []).extend(points)
        for (name, reason), points in sorted(wrong.items()):
            self._report("content" if reason else "chunk", name.hex()[:16], reason or "missing", points)

    # ------------------------------------------------------------------------------------------------------ data

    def data(self, limit: int | None, only: Collection[bytes] | None) -> None:
        """Read packs and parity objects in full, least recently read first."""
        self._progress.enter("reading packs")
        before = self._catalog.checked()
        self._told = {pack for pack, (_, verdict) in before.items() if verdict == SPENT}
        packs: list[tuple[int, bytes, str, int]] = []
        for each in (each for folder in _READ for each in self._store.list(folder)):
            try:
                name = name_in(each.key)
            except Damaged as strange:
                self._report("pack", each.key, f"{strange.message}; {strange.hint}")
                continue
            if only is not None and name not in only:
                continue
            packs.append((before.get(name, (0, ""))[0], name, each.key, each.size))
        self._progress.total_bytes = sum(size for *_, size in packs)
        for _, name, key, size in sorted(packs):
            if limit is not None and self.done.read_bytes >= limit:
                return
            verdict = self._read(key, name, size)
            self._catalog.note_checked([(name, now_ns(), verdict)])
            self.done.read_packs += 1
            self.done.read_bytes += size

    def _read(self, key: str, name: bytes, size: int) -> str:
        hasher = blake3()
        try:
            for at in range(0, size, _PIECE):
                hasher.update(self._store.get(key, at, _PIECE))
                self._progress.bytes += min(_PIECE, size - at)
                self._pace(min(_PIECE, size - at))
        except NotFound:
            return GONE  # collected since the listing; the index tells whether it should be there
        except KnowngoodError as wrong:
            verdict = wrong.message
        else:
            if hasher.digest() == name:
                return GOOD
            verdict = "its bytes are not those that were written"
        self.done.read_bad.add(name)
        if key.startswith((PARITY_PACKS, PARITY_LOGS)):
            self.done.findings.append(Finding("parity", key, f"{verdict}; {RENEW}", lasting=True))
            return SPENT
        self._bad[name] = key, verdict
        if key.startswith(SEGMENTS):
            self._logs.damaged[name] = verdict
        else:
            self._harm.read(key, name)
        return verdict


def _gone_is_fine(read: Callable[[], object]) -> None:
    with suppress(NotFound):
        read()
