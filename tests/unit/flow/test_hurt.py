"""Whatever is lost of a vault, the files that it costs are named, and no others."""

from __future__ import annotations

import random

from knowngood.core.errors import KnowngoodError
from knowngood.core.ids import Name
from knowngood.flow.hurt import hurt_files
from knowngood.flow.parts import Parts
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.tree.read import TreeReader
from knowngood.vault.layout import PACKS, PAGES


def _parts(small: SmallVault, *, key: bool = True) -> Parts:
    return Parts(
        vault=small.vault,
        catalog=small.catalog,
        kinds=dict,
        state_dir=lambda _: "",
        private=lambda: small.private,
        private_here=lambda: small.private if key else None,
        host="host",
    )


def _lost(small: SmallVault, root: bytes, paths: dict[bytes, list[bytes]]) -> set[bytes]:
    """The files that cannot be read, found out the hard way. `paths`: file → its chunks."""
    with small.vault.session("read") as session:
        pages = small.vault.reader(session, small.private)
        lost: set[bytes] = set()
        tree = TreeReader(Name(root), pages.page)
        for path, chunks in paths.items():
            try:
                tree.lookup(path)
                for name in chunks:
                    pages.chunk(Name(name))
            except KnowngoodError:
                lost.add(path)
        return lost


def _chunks(small: SmallVault, root: bytes) -> dict[bytes, list[bytes]]:
    with small.vault.session("read") as session:
        tree = TreeReader(Name(root), small.vault.reader(session, small.private).page)
        return {entry.path: [name for name, _ in tree.chunks(entry)] for entry in tree.entries()}


def test_files_are_named() -> None:
    some, store = random.Random(9), MemoryStore()
    with small_packs(raw=4000, alone=500, group=500):
        small = SmallVault(store)
        files = {b"%d/%d" % (at % 7, at): some.randbytes(some.choice([20, 900, 3000])) for at in range(120)}
        old = small.protect(files, piece=700)
        new = small.protect({path: data for path, data in files.items() if path[:1] != b"3"}, piece=700)
    roots = {each.id: small.catalog.checkpoint(each.marks[0].checkpoint).root for each in (old, new)}
    paths = {point: _chunks(small, root) for point, root in roots.items()}
    for key in [key for key in store.objects if key.startswith((PACKS, PAGES))]:
        data = store.objects.pop(key)
        found = hurt_files(small.check().findings, _parts(small))
        lost = {point: _lost(small, root, paths[point]) for point, root in roots.items()}
        store.objects[key] = data
        told = {each.path for each in found}
        if key.startswith(PACKS):
            assert told == lost[old.id] | lost[new.id], key
            assert {each.path for each in found if each.point == new.id} == lost[new.id]
        else:  # a page is gone: it begins with a file that is lost
            assert found, key
            assert all(each.and_more for each in found)
            assert told <= lost[old.id] | lost[new.id] | {b""}, key
        assert {(each.service, each.component) for each in found} <= {("s", "c")}
    assert not hurt_files(small.check().findings, _parts(small, key=False))
