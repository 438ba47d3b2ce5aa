"""Runs of the vault's verbs, chosen by chance: each is one or more lives of a process, told step by step."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from knowngood.core.errors import Busy
from knowngood.core.instants import now_ns
from knowngood.core.model import Position
from knowngood.core.progress import Progress
from knowngood.flow.spooling import Spooler, SpoolSink
from knowngood.seal.keys import PassphraseLock
from knowngood.stores.disk import DiskStore
from knowngood.testing.crash.recorder import Tell
from knowngood.testing.logs import TIMELINE, SmallLog, no_point, records, small_segments
from knowngood.testing.vaults import SmallVault, many_runs, small_packs
from knowngood.vault import collect as collect_module, fold as folding
from knowngood.vault.fold import fold
from knowngood.vault.log_writer import LogWriter
from knowngood.vault.rebuild import rebuild_index
from knowngood.vault.reserve import set_reserve
from knowngood.vault.spool import Spool
from knowngood.vault.spool_landing import land_spool
from tests.fault.crash.contents import files_of, number_of
from tests.fault.crash.ledger import Found, Ledger
from tests.fault.crash.look import Noted, look, read_log

VAULT = "vault"
_LONG = 10**18


class Play:
    """One play: how it begins, what its lives do, and how somebody looks at what they left."""

    lives = 3
    steps = 7
    kills = 250  # a life that is killed is so before this many changes
    killed = 0.6  # of the lives that are not the last
    logs = False

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.ledger = Ledger()
        self._numbers = iter(range(1, 100_000))
        self.small: SmallVault

    def tell(self, *words: object) -> None:
        """What is said before the first life."""
        self.ledger.hear(words)

    @contextmanager
    def conditions(self) -> Iterator[None]:
        """Little packs, runs and segments, so that little data makes many of them."""
        with ExitStack() as stack:
            stack.enter_context(small_packs(raw=1500, group=400, alone=400))
            stack.enter_context(small_segments(frame=200, segment=400))
            stack.enter_context(many_runs(rows=self.chance.choice([3, 1000]), fan=2))
            stack.enter_context(patch.object(collect_module, "MERGE_FROM", self.chance.choice([1, 8])))
            stack.enter_context(patch.object(folding, "FOLD_FROM", 3))
            stack.enter_context(patch("knowngood.vault.reserve.PIECE", 512))
            stack.enter_context(patch.object(PassphraseLock, "close", _quick_lock))
            yield

    def begin(self, root: Path) -> None:
        """What is durable before the first life."""
        self.small = SmallVault(DiskStore(root / VAULT))

    def opened(self, store: DiskStore) -> SmallVault:
        """The vault as a new process finds it."""
        return self.small.beside(store)

    def live(self, root: Path, tell: Tell) -> None:
        """One life."""
        raise NotImplementedError

    def look(self, store: Noted, found: Found) -> SmallVault | None:
        """Open what was left, and see what is there."""
        small = self.opened(store)
        look(small, found, logs=self.logs)
        return small

    # ---------------------------------------------------------------------------------------------------- steps

    def act(self, small: SmallVault, tell: Tell, steps: list[tuple[int, Callable[[SmallVault, Tell], None]]]) -> None:
        """Some steps by chance; the numbers say how often each of them comes."""
        chosen = random.Random(self.chance.random())
        for step in chosen.choices([each for _, each in steps], [weight for weight, _ in steps], k=self.steps):
            small.follow()
            step(small, tell)

    def protect(self, small: SmallVault, tell: Tell) -> None:
        """A point."""
        number = self.number()
        tell("protecting", number)
        small.protect(files_of(number), f"s{number}")
        tell("protected", number)

    def number(self) -> int:
        """One that was not used: also by no life that ended too early to say so."""
        return self.chance.randrange(1 << 48)

    def expire(self, small: SmallVault, tell: Tell) -> None:
        """A point, for good or for a while."""
        visible = small.catalog.points()
        if len(visible) < 2:
            return
        point = self.chance.choice(visible)
        for_good = self.chance.random() < 0.7
        tell("expiring", number_of(point), for_good)
        small.expire(point, undo_ns=0 if for_good else _LONG)
        tell("expired", number_of(point))

    def undo(self, small: SmallVault, tell: Tell) -> None:
        """A point that was expired for a while."""
        hidden = small.catalog.expired()
        points = [each for each in small.catalog.points(expired=True) if hidden[each.id].until_ns > now_ns()]
        if points:
            point = self.chance.choice(points)
            tell("undoing", number_of(point))
            small.undo(point)
            tell("undone", number_of(point))

    def collect(self, small: SmallVault, tell: Tell) -> None:
        """A collection."""
        small.collect(sifting=self.chance.random() < 0.4)

    def rebuild(self, small: SmallVault, tell: Tell) -> None:
        """The index, made anew."""
        rebuild_index(small.vault, Progress())

    def reserve(self, small: SmallVault, tell: Tell) -> None:
        """Another reserve."""
        set_reserve(small.store, self.chance.choice([0, 700, 1500]))


class Points(Play):
    """Points come and go, and what they needed is collected."""

    def live(self, root: Path, tell: Tell) -> None:
        """One process that does one thing after the other."""
        small = self.opened(DiskStore(root / VAULT))
        self.act(
            small,
            tell,
            [
                (8, self.protect),
                (5, self.expire),
                (2, self.undo),
                (6, self.collect),
                (1, self.rebuild),
                (1, self.reserve),
            ],
        )


class Purged(Play):
    """Points that are hidden for good are collected, with what hides them."""

    lives = 1

    def begin(self, root: Path) -> None:
        """Three points, two of them hidden."""
        super().begin(root)
        for _ in range(3):
            self.protect(self.small, self.tell)
        for point in self.small.catalog.points()[:2]:
            self.tell("expiring", number_of(point), True)
            self.small.expire(point)
            self.tell("expired", number_of(point))

    def live(self, root: Path, tell: Tell) -> None:
        """To the end."""
        self.opened(DiskStore(root / VAULT)).collect_all()


class Together(Play):
    """Two writers and a collector at the same time, in threads of one process."""

    steps = 3

    def live(self, root: Path, tell: Tell) -> None:
        """All of them at once."""
        lock, failures = threading.Lock(), list[BaseException]()

        def run(steps: list[tuple[int, Callable[[SmallVault, Tell], None]]]) -> None:
            try:
                with lock:
                    small = self.opened(DiskStore(root / VAULT))
                self.act(small, tell, steps)
            except Busy:
                pass
            except BaseException as wrong:  # noqa: BLE001 - handed to the one who waits
                failures.append(wrong)

        parts = [[(1, self.protect)], [(2, self.protect), (1, self.expire)], [(1, self.collect)]]
        threads = [threading.Thread(target=run, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]


class Logs(Play):
    """A log is written, thinned, folded and collected."""

    logs = True

    def begin(self, root: Path) -> None:
        """A log of one commit."""
        super().begin(root)
        first = records(self.chance, 0, 3)
        SmallLog(self.small).write(first)
        self.ledger.logs = [[*first]]

    def live(self, root: Path, tell: Tell) -> None:
        """One process that does one thing after the other."""
        small = self.opened(DiskStore(root / VAULT))
        self.act(
            small,
            tell,
            [(9, self.append), (2, self.thin), (4, self.fold), (4, self.collect), (1, self.rebuild), (2, self.protect)],
        )

    def append(self, small: SmallVault, tell: Tell) -> None:
        """A session of some commits, each with a chunk of its own."""
        with small.vault.session("follow", timelines=(TIMELINE,)) as session:
            writer = LogWriter(small.vault, session, small.catalog, TIMELINE)
            first, before = read_log(small) or (0, [])
            for _ in range(self.chance.randrange(1, 4)):
                with small.vault.ingest(session, Progress()) as sink:
                    chunk = bytes(sink.add(self.chance.randbytes(300)))
                    sink.flush()
                batch = records(self.chance, writer.next_sequence, self.chance.randrange(1, 6), [chunk])
                tell("appending", first, list(before), batch)
                writer.append(batch)
                writer.commit()
                tell("appended")
                before += batch

    def thin(self, small: SmallVault, tell: Tell) -> None:
        """What lies before a segment, for good."""
        bounds = [each.first for each in small.catalog.log.covering(TIMELINE, 0)]
        if len(bounds) > 3:
            floor = self.chance.choice(bounds[1:3])
            tell("thinning", floor)
            SmallLog(small).thin(0, floor)
            tell("thinned", floor)

    def fold(self, small: SmallVault, tell: Tell) -> None:
        """Small segments into a large one."""
        fold(small.vault, small.catalog, Progress())


class Spooled(Logs):
    """Ticks wait in a spool, and land."""

    steps = 4
    STATE = "state"

    def begin(self, root: Path) -> None:
        """An empty spool."""
        super().begin(root)
        (root / self.STATE).mkdir()

    def spool(self, small: SmallVault, root: Path) -> Spool:
        """As a process finds it."""
        return Spool(str(root / self.STATE), small.vault.id, TIMELINE)

    def live(self, root: Path, tell: Tell) -> None:
        """What waits lands first; then some ticks wait, and may land too."""
        small = self.opened(DiskStore(root / VAULT))
        spool = self.spool(small, root)
        self.land(small, spool)
        for _ in range(self.steps):
            step = self.chance.choice([self.keep, self.keep, self.land, None])
            if step == self.keep:
                self.keep(small, spool, tell, root)
            elif step:
                self.land(small, spool)
            elif not spool.ticks:
                self.append(small, tell)
        spool.close()

    def keep(self, small: SmallVault, spool: Spool, tell: Tell, root: Path) -> None:
        """A tick waits."""
        spooler = Spooler(small.vault, TIMELINE, spool, lambda: str(root / self.STATE))
        newest = small.catalog.log.newest(TIMELINE)
        assert newest
        at = spool.ticks[-1].after if spool.ticks else Position(newest.end, newest.last)
        if not spool.ticks:
            self._written = (read_log(small) or (0, []))[1]
        first = self._written[0].sequence if self._written else 0
        content = self.chance.randbytes(self.chance.randrange(10, 2000))

        def records_of(sink: SpoolSink) -> list:
            chunk = bytes(sink.add(content))
            batch = records(self.chance, at.sequence, self.chance.randrange(1, 4), [chunk])
            tell("appending", first, list(self._written), batch)
            self._written = self._written + batch
            return batch

        spooler.keep(at, records_of)
        tell("appended")

    def land(self, small: SmallVault, spool: Spool) -> None:
        """What waits goes into the vault."""
        if spool.ticks:
            with small.vault.session("follow", timelines=(TIMELINE,)) as session:
                done = land_spool(spool, small.vault, session, small.catalog, no_point)
            assert not done.reason, done

    def look(self, store: Noted, found: Found) -> SmallVault | None:
        """As the next process does: what waits lands, and then the log is read."""
        small = self.opened(store)
        spool = self.spool(small, store.root.parent)
        try:
            self.land(small, spool)
        except AssertionError as wrong:
            found.wrong.append(f"what waited does not land: {wrong}")
        finally:
            spool.close()
        look(small, found, logs=True)
        return small


class Relay(Logs):
    """One process is killed in the middle of one verb, and the next one carries out another."""

    lives = 2
    killed = 1.0
    kills = 50  # the first life ends before this many changes

    def begin(self, root: Path) -> None:
        """Points and parts of a log of all sorts, and a collection that may be half done."""
        super().begin(root)
        some = [
            (6, self.protect),
            (4, self.expire),
            (6, self.append),
            (2, self.thin),
            (1, self.collect),
            (1, self.fold),
        ]
        self.steps = 10
        self.act(self.small, self.tell, some)
        if self.chance.random() < 0.5:  # condemned, and not deleted yet
            with self.small.vault.session("blocks"):
                self.small.collect()
        self.steps = 1

    def live(self, root: Path, tell: Tell) -> None:
        """One verb."""
        small = self.opened(DiskStore(root / VAULT))
        if self.chance.random() < 0.2:
            self.protect(small, tell)
        some = [
            (4, self.collect),
            (3, self.fold),
            (2, self.rebuild),
            (1, self.append),
            (1, self.expire),
            (1, self.thin),
        ]
        self.act(small, tell, some)


def _quick_lock(secret: bytes, passphrase: bytes) -> PassphraseLock:
    """A lock that takes no time."""
    lock = PassphraseLock(os.urandom(16), b"", iterations=1, lanes=1, memory_kib=64)
    sealed = AESGCM(lock._stretch(passphrase)).encrypt(bytes(12), secret, b"knowngood")
    return PassphraseLock(lock.salt, sealed, iterations=1, lanes=1, memory_kib=64)
