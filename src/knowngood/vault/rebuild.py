"""Rebuilding: the index from the packs alone, without any key; the catalog from the commits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from blake3 import blake3

from knowngood.core.errors import Damaged, KnowngoodError
from knowngood.core.ids import NAME_BYTES
from knowngood.core.ports import Store
from knowngood.core.progress import Progress
from knowngood.vault.descriptor import mend_copies
from knowngood.vault.epoch import latest_epoch_or_blank, read_epoch, supersede_runs
from knowngood.vault.index import Index
from knowngood.vault.layout import INDEX, INDEXED, PACK_FOLDERS, epoch_key, name_in, pack_key, run_key
from knowngood.vault.merge import merge_runs, put_run
from knowngood.vault.pack import Walked, salvage_pack, walk_pack
from knowngood.vault.parity.keep import release
from knowngood.vault.run import Run, make_row
from knowngood.vault.vault import Vault

_ROWS = 1 << 17


@dataclass
class Rebuilt:
    """What a rebuild found."""

    packs: int = 0
    names: int = 0
    runs: int = 0
    damaged: dict[str, str] = field(default_factory=dict)  # pack → why not all of it could be read
    mended: list[str] = field(default_factory=list)  # descriptors and key files, made anew from their other copies


def rebuild_index(vault: Vault, progress: Progress, doubted: Collection[bytes] = ()) -> Rebuilt:
    """Walk every pack and put a new index in force. Raises Busy when a collector is at work.

    Of a pack that cannot be walked to its end, the intact frames are kept, and only they: what nobody knows of is
    stored again when it comes again. The same goes for `doubted` packs, when their bytes are not as written.
    """
    store = vault.store
    with vault.session("rebuild the index", without_index=True, exclusive=True) as session:
        epoch = latest_epoch_or_blank(store, settled=True)
        going = [pack_key(kind, pack) for pack, kind in epoch.deleted]
        release(session, going)
        for key in going:  # a collector's last step, or the walk would find what is already gone
            session.delete(key)
        done = Rebuilt(mended=mend_copies(store))
        old = _names_in(store, INDEX, done)
        for name in old:  # a damaged run would keep the place of a good one with the same rows
            if not _is_intact(store, name):
                session.delete(run_key(name))
        runs = _walk_all(store, progress, done, doubted)
        index = Index([Run(name, store.view(run_key(name))) for name in runs], frozenset())
        merged = merge_runs(store, index, lambda _: True)
        done.runs = len(merged)
        superseded = {*old, *runs} - set(merged)
        supersede_runs(store, epoch, superseded)
        for name in superseded:
            session.delete(run_key(name))
        try:
            read_epoch(store, epoch.number)
        except KnowngoodError:  # it was damaged; the new one has taken its place
            store.delete(epoch_key(epoch.number))
        return done


def _is_intact(store: Store, name: bytes) -> bool:
    try:
        return Run(name, store.view(run_key(name))).intact()
    except KnowngoodError:
        return False


def _walk_all(store: Store, progress: Progress, done: Rebuilt, doubted: Collection[bytes]) -> list[bytes]:
    progress.enter("walking packs")
    runs: list[bytes] = []
    rows: set[bytes] = set()
    packs: dict[bytes, int] = {}
    found = [(kind, name) for kind in INDEXED for name in _names_in(store, PACK_FOLDERS[kind], done)]
    progress.total_files = len(found)
    for kind, name in found:
        done.packs += 1
        progress.files += 1
        packs[name] = kind
        for frame in _walk(store, kind, name, done, doubted):
            for at in range(0, len(frame.names), NAME_BYTES):
                rows.add(make_row(frame.names[at : at + NAME_BYTES], name, frame.offset, frame.header.total_bytes))
        if len(rows) >= _ROWS:
            runs.append(put_run(store, packs, sorted(rows)))
            done.names += len(rows)
            rows, packs = set(), {}
    if rows:
        runs.append(put_run(store, packs, sorted(rows)))
        done.names += len(rows)
    return runs


def _names_in(store: Store, folder: str, done: Rebuilt) -> list[bytes]:
    names: list[bytes] = []
    for each in store.list(folder, settled=True):
        try:
            names.append(name_in(each.key))
        except Damaged as strange:
            done.damaged[each.key] = strange.message
    return names


def _walk(store: Store, kind: int, name: bytes, done: Rebuilt, doubted: Collection[bytes]) -> list[Walked]:
    """The frames of a pack. What lies in its folder is of its kind, whatever its own head says."""
    key = pack_key(kind, name)
    try:
        data = store.get(key) if name in doubted else b""
        if data and blake3(data).digest() != name:
            done.damaged[key] = "its bytes are not those that were written"
            return list(salvage_pack(data))
        return list(walk_pack(lambda offset, length: store.get(key, offset, length), store.stat(key).size))
    except Damaged as wrong:
        done.damaged[key] = wrong.message
        return list(salvage_pack(store.get(key)))
    except KnowngoodError as wrong:
        done.damaged[key] = wrong.message
        return []
