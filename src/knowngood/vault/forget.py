"""Forgetting: the index stops telling of what is damaged; the next capture finds it missing, and stores it again.

Packs are left as they are. What is in them and can be read keeps its place; what cannot be read has none any more: a
writer that asks for its name hears no, reads the source, and lands it anew under the same name, which makes every old
point that needs it whole. A rebuild does the same, by walking every pack; this goes by what a check has found.

Segments of logs are in no index, and no source tells a second time what changed when: a damaged one stays damaged.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from blake3 import blake3

from knowngood.core.errors import Damaged, KnowngoodError, NotFound
from knowngood.core.ports import Store
from knowngood.core.progress import Progress
from knowngood.vault.catalog import Catalog
from knowngood.vault.epoch import latest_epoch, supersede_runs
from knowngood.vault.harm import Harm
from knowngood.vault.index import Index
from knowngood.vault.layout import INDEXED, PACK_FOLDERS, SEGMENTS, name_in, pack_key, run_key
from knowngood.vault.merge import merge_runs
from knowngood.vault.pack import PackKind
from knowngood.vault.standing import read_standing
from knowngood.vault.vault import Vault

GOOD, SPENT, GONE = "good", "spent", "gone"
"""Verdicts on a pack that was read: as written; damaged and forgotten; collected meanwhile. Others say why."""


@dataclass
class Forgotten:
    """What the index no longer tells of."""

    places: int = 0  # of names, in packs
    verdicts: dict[bytes, str] = field(
        default_factory=dict
    )  # doubted packs, as they were found now, where that is news


def bad_packs(catalog: Catalog) -> frozenset[bytes]:
    """The packs that were damaged when they were last read, and to whose damage the index may still lead."""
    verdicts = catalog.checked().items()
    return frozenset(pack for pack, (_, verdict) in verdicts if verdict not in (GOOD, SPENT, GONE))


def spent_packs(catalog: Catalog) -> frozenset[bytes]:
    """The packs that hold damage which nothing leads to: worth rewriting."""
    return frozenset(pack for pack, (_, verdict) in catalog.checked().items() if verdict == SPENT)


def curable_packs(catalog: Catalog) -> frozenset[bytes]:
    """Those of the bad packs that forgetting does something about: all but the segments of logs."""
    return frozenset(pack for pack in bad_packs(catalog) if not catalog.log.holds(pack))


def forget_harmed(vault: Vault, doubted: Collection[bytes], progress: Progress) -> Forgotten:
    """Take out of the index every row that leads to nothing: into `doubted` packs, as far as they are damaged now, and
    into packs that are missing or cut short.

    Raises Busy when somebody else keeps the vault in order; Damaged when the index itself is: then it is rebuilt first.
    """
    vault.descriptor.require("delete")
    store = vault.store
    with vault.session("forget what is damaged", without_index=True, exclusive=True) as session:
        epoch = latest_epoch(store)
        index = Index.open(store, epoch)
        if not all(run.intact() for run in index.runs):
            raise Damaged("the index is damaged", hint="run: knowngood vault rebuild")
        listed = {each.key: each.size for kind in INDEXED for each in store.list(PACK_FOLDERS[kind])}
        harm, done = Harm(store), Forgotten(verdicts=dict.fromkeys(doubted, GONE))
        progress.enter("reading damaged packs again")
        for key in listed:
            if (name := name_in(key)) in doubted:
                done.verdicts[name] = _verdict(store, key, name, harm)
        _judge_segments(store, doubted, done)
        for _ in harm.survey(index, listed):
            pass  # what it finds, it keeps
        done.places = sum(bool(harm.reason(row)) for run in index.runs for byte in range(256) for row in run.rows(byte))
        if done.places:
            runs = merge_runs(store, index, lambda row: not harm.reason(row))
            old = {run.name for run in index.runs} - set(runs)
            supersede_runs(store, epoch, {*epoch.superseded, *old} - set(runs))
            for name in old:
                session.delete(run_key(name))
        return done


def _verdict(store: Store, key: str, name: bytes, harm: Harm) -> str:
    """How a pack is now: what could not be read before may have been a cable."""
    verdict = _read_again(store, key, name)
    if verdict == SPENT:
        harm.read(key, name)
    return verdict


def _read_again(store: Store, key: str, name: bytes) -> str:
    try:
        if blake3(store.get(key)).digest() == name:
            return GOOD
    except NotFound:
        return GONE
    except KnowngoodError:
        pass  # then nothing in it can be read
    return SPENT


def _judge_segments(store: Store, doubted: Collection[bytes], done: Forgotten) -> None:
    """Of segments, nothing leads to those that no commit holds; what a check said of the others stays as it is."""
    found = {name for each in store.list(SEGMENTS) if (name := name_in(each.key)) in doubted}
    held = read_standing(store).segments if found else {}
    for name in found:
        done.verdicts[name] = _read_again(store, pack_key(PackKind.SEGMENT, name), name)
        if done.verdicts[name] == SPENT and name in held:
            del done.verdicts[name]
