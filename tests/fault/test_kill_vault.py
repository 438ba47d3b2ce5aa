"""A vault on a disk is killed at every change that each of its verbs makes there.

After every single kill: the vault opens, a check finds nothing, what was acknowledged recovers byte for byte, the verb
can be run again, and in the end nothing is left of the killed run.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.core.progress import Progress
from knowngood.seal.keys import PrivateKey
from knowngood.stores.disk import DiskStore
from knowngood.testing.killer import Outcome, every_kill
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault import collect as collect_module
from knowngood.vault.layout import COMMITS, INDEX, PACKS, PAGES, RESERVE, SESSIONS
from knowngood.vault.rebuild import rebuild_index
from knowngood.vault.reserve import reserved_bytes, set_reserve
from knowngood.vault.unlock import unlock_with_passphrase, writer_key
from knowngood.vault.vault import create_vault, open_vault

pytestmark = pytest.mark.slow

Files = dict[bytes, bytes]


@dataclass
class Scene:
    """A vault as it is before the verb, in a folder that is copied for each kill."""

    place: Path
    some: random.Random = field(default_factory=lambda: random.Random(5))
    truth: dict[bytes, Files] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.before, self.folder = self.place / "before", self.place / "vault"
        self.small = SmallVault(DiskStore(self.before))
        self.killed: list[Outcome] = []

    def files(self, count: int, size: int = 1200) -> Files:
        """Some files of random content."""
        return {b"folder%d/file%d" % (at % 2, at): self.some.randbytes(size) for at in range(count)}

    def protect(self, files: Files, service: str = "s") -> bytes:
        """An acknowledged point."""
        point = self.small.protect(files, service)
        self.truth[point.id] = files
        return point.id

    def expire(self, *points: bytes, undo_ns: int = 0) -> None:
        """Points that are no longer visible."""
        self.small.expire(*(self.small.catalog.find_point(point.hex()) for point in points), undo_ns=undo_ns)
        for point in points:
            del self.truth[point]

    def opened(self) -> SmallVault:
        """The vault in the copy, with an empty catalog, as another process sees it."""
        return self.small.beside(DiskStore(self.folder))

    def fresh(self) -> SmallVault:
        """A fresh copy."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.before, self.folder)
        return self.opened()

    def run(self, act: Callable[[SmallVault], object], look: Callable[[SmallVault], None]) -> None:
        """Kill `act` everywhere; `look` after each kill, with a vault that was found sound so far."""

        def prepare() -> Callable[[], object]:
            small = self.fresh()
            return lambda: act(small)

        for outcome in every_kill(prepare):
            small = self.opened()
            assert small.check().findings == [], outcome
            look(small)
            self.killed.append(outcome)
        assert len(self.killed) > 10

    def clean(self, small: SmallVault) -> None:
        """Collect; nothing may be left but what the points need."""
        small.collect_all()
        assert list(small.store.list(SESSIONS)) == []
        assert list((self.folder / "tmp").iterdir()) == []
        assert small.check().findings == []
        small.verify_known()

    def objects(self, small: SmallVault) -> int:
        """How many packs, commits and runs there are."""
        return sum(1 for folder in (PACKS, PAGES, COMMITS, INDEX) for _ in small.store.list(folder))


@pytest.fixture
def scene(place: Path) -> Scene:
    """A vault to be killed."""
    return Scene(place)


def test_protect(scene: Scene) -> None:
    with small_packs():
        scene.protect(scene.files(4))
        files = scene.files(8)
        truth = dict(scene.truth)

        def look(small: SmallVault) -> None:
            visible = {point.id for point in small.catalog.points()}
            (new,) = visible - truth.keys() or {b""}
            small.verify(truth | ({new: files} if new else {}))  # there as a whole, or not at all
            small.verify_known()
            again = small.protect(files)
            both = truth | ({new: files} if new else {}) | {again.id: files}
            small.verify(both)
            scene.clean(small)
            small.verify(both)

        scene.run(lambda small: small.protect(files), look)
        assert scene.killed[-1].finished


def test_protect_leaves_no_space_behind(scene: Scene) -> None:
    """Whatever a killed protect has landed and never committed is reclaimed."""
    with small_packs():
        scene.protect(scene.files(4))
        scene.small.collect_all()
        packs = {each.key for folder in (PACKS, PAGES) for each in scene.small.store.list(folder)}
        files = scene.files(6)

        def look(small: SmallVault) -> None:
            new = [point for point in small.catalog.points() if point.id not in scene.truth]
            if new:
                small.expire(*new)
            scene.clean(small)
            small.verify(scene.truth)
            assert {each.key for folder in (PACKS, PAGES) for each in small.store.list(folder)} == packs

        scene.run(lambda small: small.protect(files), look)


def test_expire_and_undo(scene: Scene) -> None:
    with small_packs():
        first, second = scene.protect(scene.files(4)), scene.protect(scene.files(4))
        truth = dict(scene.truth)

        def act(small: SmallVault) -> None:
            small.expire(small.catalog.find_point(first.hex()), undo_ns=10**18)
            small.undo(small.catalog.find_point(first.hex()))

        def look(small: SmallVault) -> None:
            visible = {point.id for point in small.catalog.points()}
            assert visible in ({second}, {first, second})
            small.verify({point: truth[point] for point in visible})
            scene.clean(small)
            if first not in visible:
                small.undo(small.catalog.find_point(first.hex()))
            small.verify(truth)

        scene.run(act, look)


def messy(scene: Scene) -> None:
    """Dead packs, poor packs, packs without any run, points to purge, a point that is hidden and not yet to go."""
    shared = scene.files(6)
    gone = scene.protect(scene.files(6))
    mixed = scene.protect(scene.files(4) | {b"s" + path: data for path, data in shared.items()})
    scene.protect({b"s" + path: data for path, data in list(shared.items())[:3]})
    scene.protect(scene.files(2), "other")
    hidden = scene.protect(scene.files(2))
    scene.expire(gone, mixed)
    scene.expire(hidden, undo_ns=10**18)
    with pytest.raises(ZeroDivisionError), scene.small.vault.session("failed") as session:
        with scene.small.vault.ingest(session, Progress()) as sink:
            scene.small.land(sink, scene.files(3))
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("runs", "sifting"), [(8, False), (1, False), (8, True)], ids=["some-runs", "always-merge", "sifting"]
)
def test_collect(scene: Scene, runs: int, *, sifting: bool) -> None:
    sizes = {"group": 8192, "alone": 8192} if sifting else {}  # then groups are there to be sifted
    with small_packs(**sizes), patch.object(collect_module, "MERGE_FROM", runs):
        messy(scene)
        whole = scene.fresh()
        whole.collect_all(sifting=sifting)
        left = scene.objects(whole)

        def look(small: SmallVault) -> None:
            small.verify(scene.truth)
            small.verify_known()
            assert len(small.catalog.points(expired=True)) in (1, 2, 3)  # commits go one by one
            scene.clean(small)
            small.verify(scene.truth)
            assert len(small.catalog.points(expired=True)) == 1
            # one fence more for the killed collector, if it was seen; and as little else as after an unharmed one
            fences = sum(1 for _ in small.store.list(COMMITS)) - sum(1 for _ in whole.store.list(COMMITS))
            assert scene.objects(small) - fences <= left + 1

        scene.run(lambda small: small.collect(sifting=sifting), look)


def test_collect_twice(scene: Scene) -> None:
    """A collection is killed; the next one is killed as well: every fifth state of the first, all of the second."""
    with small_packs():
        messy(scene)
        first = 1
        while True:
            small = scene.fresh()
            from knowngood.testing.killer import run_and_kill

            if run_and_kill(small.collect, first).finished:
                break
            between = scene.place / "between"
            shutil.copytree(scene.folder, between)

            def prepare(between: Path = between) -> Callable[[], object]:
                shutil.rmtree(scene.folder)
                shutil.copytree(between, scene.folder)
                return scene.opened().collect

            for outcome in every_kill(prepare, start=3, step=13):
                again = scene.opened()
                assert again.check().findings == [], (first, outcome)
                again.verify(scene.truth)
                again.verify_known()
            scene.clean(again)
            again.verify(scene.truth)
            shutil.rmtree(between)
            first += 11


def test_rebuild(scene: Scene) -> None:
    with small_packs():
        messy(scene)

        def act(small: SmallVault) -> None:
            rebuild_index(small.vault, Progress())

        def look(small: SmallVault) -> None:
            small.verify(scene.truth)
            act(small)
            small.verify(scene.truth)
            small.verify_known()
            scene.clean(small)
            small.verify(scene.truth)

        scene.run(act, look)


def test_rebuild_in_the_middle_of_a_collection(scene: Scene) -> None:
    """A collection was killed after it had condemned; then the index is rebuilt, and that is killed as well."""
    with small_packs():
        messy(scene)
        with scene.small.vault.session("blocks the collector"):
            assert scene.small.beside().collect().waiting_for

        def look(small: SmallVault) -> None:
            small.verify(scene.truth)
            small.verify_known()
            scene.clean(small)
            small.verify(scene.truth)

        scene.run(lambda small: rebuild_index(small.vault, Progress()), look)


@pytest.mark.parametrize(("old", "new"), [(0, 20000), (20000, 3000), (20000, 0)])
def test_set_reserve(scene: Scene, old: int, new: int) -> None:
    with patch("knowngood.vault.reserve.PIECE", 4096):
        scene.protect({b"f": b"content"})
        set_reserve(scene.small.store, old)

        def look(small: SmallVault) -> None:
            small.verify(scene.truth)
            small.collect()
            assert reserved_bytes(small.store) in (old, new)  # whole again: as it was, or as it was to be
            set_reserve(small.store, new)
            assert reserved_bytes(small.store) == new
            assert sum(1 for _ in small.store.list(RESERVE)) <= 1 + -(-new // 4096)
            assert list((scene.folder / "tmp").iterdir()) == []

        scene.run(lambda small: set_reserve(small.store, new), look)


def test_create(place: Path) -> None:
    """A vault is there as a whole or not at all; made anew over what is left, the same passphrase opens it."""
    folder = place / "vault"
    quick = patch("knowngood.vault.vault.PassphraseLock.close", side_effect=_quick_lock)

    def prepare() -> Callable[[], object]:
        shutil.rmtree(folder, ignore_errors=True)
        return lambda: create_vault(DiskStore(folder), b"secret")

    with quick:
        for outcome in every_kill(prepare):
            store = DiskStore(folder)
            if not (folder / "vault.json").exists():
                create_vault(store, b"secret")
            private = unlock_with_passphrase(store, b"secret")
            vault = open_vault(store, writer_key(store, private))
            small = SmallVault.__new__(SmallVault)
            small.__dict__.update(store=store, vault=vault, private=PrivateKey(private.recovery_key))
            small = small.beside()
            point = small.protect({b"f": b"content"})
            small.verify({point.id: {b"f": b"content"}})
            rebuild_index(vault, Progress())
            assert small.check().findings == [], outcome
            small.collect_all()
            assert list((folder / "tmp").iterdir()) == []


def _quick_lock(secret: bytes, passphrase: bytes):
    from knowngood.seal.keys import PassphraseLock

    lock = PassphraseLock(b"salt" * 4, b"", iterations=1, lanes=1, memory_kib=64)
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    sealed = AESGCM(lock._stretch(passphrase)).encrypt(bytes(12), secret, b"knowngood")
    return PassphraseLock(lock.salt, sealed, iterations=1, lanes=1, memory_kib=64)
