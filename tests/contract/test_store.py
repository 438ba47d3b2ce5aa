"""What every store promises (core/ports.py, Store). A new store joins by a line in STORES."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from knowngood.core.errors import Exists, KnowngoodError, NoSpace, NotFound
from knowngood.core.ports import ObjectStat, Store
from knowngood.stores.disk import DiskStore
from knowngood.testing.stores import FaultyStore, MemoryStore
from tests.loops import Mounts

STORES: dict[str, Callable[[Path], Store]] = {
    "disk": lambda folder: DiskStore(folder / "vault"),
    "memory": lambda _: MemoryStore(),
    "faulty": lambda folder: FaultyStore(DiskStore(folder / "vault")),
}

KEY = "packs/ab/abcd"


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    return STORES[request.param](tmp_path)


def keys(store: Store, prefix: str = "") -> list[str]:
    return sorted(each.key for each in store.list(prefix))


# ------------------------------------------------------------------------------------------------------- one object


@pytest.mark.parametrize(
    "parts",
    [[], [b""], [b"one"], [b"one", b"", b"two"], [bytearray(b"a"), memoryview(b"xbx")[1:2]], [b"x"] * 3000],
    ids=["none", "empty", "one", "three", "views", "many"],
)
def test_an_object_is_the_parts_it_was_put_from(store: Store, parts: list[bytes]) -> None:
    whole = b"".join(parts)
    store.put(KEY, parts)
    assert store.get(KEY) == whole
    assert bytes(store.view(KEY)[:]) == whole
    assert store.stat(KEY) == ObjectStat(KEY, len(whole))
    assert list(store.list("packs/")) == [ObjectStat(KEY, len(whole))]


def test_a_large_object_comes_back(store: Store) -> None:
    pieces = [os.urandom(1 << 20) for _ in range(9)]
    store.put(KEY, pieces)
    assert store.get(KEY) == b"".join(pieces)
    assert bytes(store.view(KEY)[5 << 20 : 6 << 20]) == pieces[5]


@pytest.mark.parametrize(
    ("offset", "length", "found"),
    [
        (0, None, b"0123456789"),
        (0, 0, b""),
        (3, 4, b"3456"),
        (3, None, b"3456789"),
        (8, 100, b"89"),
        (10, 1, b""),
        (99, None, b""),
        (99, 5, b""),
    ],
)
def test_ranges(store: Store, offset: int, length: int | None, found: bytes) -> None:
    store.put(KEY, [b"0123456789"])
    assert store.get(KEY, offset, length) == found


def test_what_is_not_there_is_not_found(store: Store) -> None:
    store.put("packs/ab/other", [b"x"])
    for ask in (store.get, store.view, store.stat):
        with pytest.raises(NotFound):
            ask(KEY)
        with pytest.raises(NotFound):
            ask("nowhere/at/all")


def test_deleting_is_for_good_and_may_be_repeated(store: Store) -> None:
    store.put(KEY, [b"x"])
    store.delete(KEY)
    with pytest.raises(NotFound):
        store.get(KEY)
    assert keys(store) == []
    store.delete(KEY)
    store.delete("never/was")
    store.put(KEY, [b"again"])
    assert store.get(KEY) == b"again"


def test_a_view_outlives_its_object(store: Store) -> None:
    data = os.urandom(3 << 20)
    store.put(KEY, [data])
    view = store.view(KEY)
    store.delete(KEY)
    assert bytes(view[:]) == data


# ------------------------------------------------------------------------------------------------------ put if absent


def test_a_taken_key_is_never_written_again(store: Store) -> None:
    store.put(KEY, [b"first"])
    for _ in range(2):
        with pytest.raises(Exists):
            store.put(KEY, [b"second, and longer"])
    assert store.get(KEY) == b"first"
    assert keys(store) == [KEY]


def test_of_many_threads_one_puts(store: Store) -> None:
    start = threading.Barrier(8)

    def put(number: int) -> int | None:
        start.wait()
        try:
            store.put(KEY, [bytes([number]) * 100_000])
        except Exists:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(put, range(8)) if number is not None]
    assert len(winners) == 1
    assert store.get(KEY) == bytes(winners) * 100_000


PUTTER = """
import sys
from knowngood.core.errors import Exists
from knowngood.stores.disk import DiskStore
folder, number = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
try:
    DiskStore(folder).put("packs/ab/abcd", [bytes([number]) * 100_000])
    print("won", flush=True)
except Exists:
    print("lost", flush=True)
"""


def test_of_many_processes_one_puts(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    with ExitStack() as running:
        processes = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", PUTTER, str(folder), str(number)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(5)
        ]
        assert all(process.stdout and process.stdout.readline() == "ready\n" for process in processes)
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate()[0] for process in processes]
    assert sorted(said) == ["lost\n"] * 4 + ["won\n"]
    assert DiskStore(folder).get(KEY) == bytes([said.index("won\n")]) * 100_000
    assert list((folder / "tmp").iterdir()) == []


def test_different_keys_at_once(store: Store) -> None:
    """Folders that nobody made yet are made by all of them."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(f"packs/{number % 4:02x}/{number}", [bytes([number])]), range(64)))
    assert len(keys(store, "packs/")) == 64
    assert all(store.get(f"packs/{number % 4:02x}/{number}") == bytes([number]) for number in range(64))


# ----------------------------------------------------------------------------------------------------------- listing


def test_a_listing_has_what_lies_below_its_prefix(store: Store) -> None:
    for key in ("packs/ab/1", "packs/ab/2", "packs/cd/3", "packsx/4", "pages/ab/5", "single"):
        store.put(key, [b"x"])
    assert keys(store, "packs/") == ["packs/ab/1", "packs/ab/2", "packs/cd/3"]
    assert keys(store, "packs/ab/") == ["packs/ab/1", "packs/ab/2"]
    assert keys(store, "nowhere/") == []
    assert keys(store) == ["packs/ab/1", "packs/ab/2", "packs/cd/3", "packsx/4", "pages/ab/5", "single"]


def test_a_listing_sees_every_put_and_delete_before_it(store: Store) -> None:
    for number in range(20):
        store.put(f"epochs/{number}", [])
        assert f"epochs/{number}" in keys(store, "epochs/")
    for number in range(20):
        store.delete(f"epochs/{number}")
        assert f"epochs/{number}" not in keys(store, "epochs/")


def test_what_is_deleted_during_a_listing_does_no_harm(store: Store) -> None:
    for number in range(50):
        store.put(f"index/{number}", [b"x"])
    listing: Iterator[ObjectStat] = store.list("index/")
    next(listing)
    for number in range(50):
        store.delete(f"index/{number}")
    assert len(list(listing)) <= 50


# ------------------------------------------------------------------------------------------------------------- limits


def test_room_is_a_number_or_unknown(store: Store) -> None:
    store.put(KEY, [b"x"])
    free = store.free_bytes()
    assert free is None or free > 0


def test_sweeping_harms_nothing_that_is_whole(store: Store) -> None:
    store.put(KEY, [b"x"])
    assert store.sweep() == 0
    assert store.get(KEY) == b"x"


def test_a_full_store_says_so_and_keeps_nothing_half(mounts: Mounts) -> None:
    folder = mounts.make("ext4", 8)
    store = DiskStore(folder / "vault")
    number = 0
    with pytest.raises(NoSpace):
        for number in range(100):
            store.put(f"packs/{number}", [os.urandom(1 << 20)])
    assert keys(store, "packs/") == sorted(f"packs/{each}" for each in range(number))
    assert list((folder / "vault" / "tmp").iterdir()) == []
    with pytest.raises(NotFound):
        store.get(f"packs/{number}")
    store.delete("packs/0")
    store.put(f"packs/{number}", [b"there is room again"])
    assert len(store.get("packs/1")) == 1 << 20


def test_a_memory_store_fills_up_as_well() -> None:
    store = MemoryStore(capacity=10)
    store.put("a", [b"12345678"])
    with pytest.raises(NoSpace):
        store.put("b", [b"123"])
    assert keys(store) == ["a"]


STRANGE = [
    "", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", "./a", "a/./b", "a//b", "a/", "/a", ".hidden", "a/.hidden",
    "a\0b", "a\nb", "a\n", "ä", "a b", "a\\b", "~", "-a", "tmp/x", "*",
]  # fmt: skip


@pytest.mark.parametrize("key", STRANGE, ids=ascii)
def test_no_key_leads_out_of_the_folder(key: str, tmp_path: Path) -> None:
    folder = tmp_path / "outside" / "vault"
    store = DiskStore(folder)
    store.put("a/b", [b"x"])
    (tmp_path / "outside" / "x").write_bytes(b"not an object")
    before = sorted(tmp_path.rglob("*"))
    for act in (lambda: store.put(key, [b"y"]), lambda: store.get(key), lambda: store.view(key)):
        with pytest.raises(KnowngoodError):
            act()
    for act in (lambda: store.stat(key), lambda: store.delete(key)):
        with pytest.raises(KnowngoodError):
            act()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("prefix", ["..", "../", "/", "a", "a/../", "./", "a//", ".git/", "tmp/", "a/\0/"], ids=ascii)
def test_no_prefix_leads_out_of_the_folder(prefix: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"not an object")
    store = DiskStore(tmp_path / "vault")
    store.put("a/b", [b"x"])
    with pytest.raises(KnowngoodError):
        list(store.list(prefix))
