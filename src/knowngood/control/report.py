"""Reports: the state of a vault in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from knowngood.flow.parts import Parts
from knowngood.vault.epoch import latest_epoch
from knowngood.vault.forget import bad_packs, spent_packs
from knowngood.vault.index import Index
from knowngood.vault.layout import INDEX, PACKS, PAGES, PARITY_LOGS, PARITY_PACKS, SEGMENTS
from knowngood.vault.reserve import reserved_bytes
from knowngood.vault.session import SessionCard, list_sessions


@dataclass(frozen=True, slots=True)
class VaultState:
    """What a vault holds and how it does. Bytes and nanoseconds."""

    location: str
    vault_id: str
    created: str
    points: int
    expired_points: int
    nameless_points: int
    packs: int
    pack_bytes: int
    page_bytes: int
    segments: int
    segment_bytes: int
    logs: int
    parity_bytes: int
    index_bytes: int
    index_names: int
    reserve_bytes: int
    free_bytes: int | None
    read_packs: int
    bad_packs: int
    spent_packs: int
    oldest_read_ns: int  # of the packs that are there; 0 when none was ever read
    sessions: tuple[SessionCard, ...]


def vault_state(parts: Parts, location: str) -> VaultState:
    """Count; nothing is read in full."""
    store, catalog = parts.vault.store, parts.catalog
    data = {each.key.rpartition("/")[2]: each.size for each in store.list(PACKS)}
    pages = {each.key.rpartition("/")[2]: each.size for each in store.list(PAGES)}
    segments = {each.key.rpartition("/")[2]: each.size for each in store.list(SEGMENTS)}
    there = {*data, *pages, *segments}
    checked = {pack: row for pack, row in catalog.checked().items() if pack.hex() in there}
    return VaultState(
        location=location,
        vault_id=parts.vault.id.hex(),
        created=parts.vault.descriptor.created,
        points=len(catalog.points()),
        expired_points=len(catalog.points(expired=True)),
        nameless_points=catalog.nameless(),
        packs=len(data) + len(pages),
        pack_bytes=sum(data.values()),
        page_bytes=sum(pages.values()),
        segments=len(segments),
        segment_bytes=sum(segments.values()),
        logs=len(catalog.log.timelines()),
        parity_bytes=sum(each.size for folder in (PARITY_PACKS, PARITY_LOGS) for each in store.list(folder)),
        index_bytes=sum(each.size for each in store.list(INDEX)),
        index_names=Index.open(store, latest_epoch(store)).rows,
        reserve_bytes=reserved_bytes(store),
        free_bytes=store.free_bytes(),
        read_packs=len(checked),
        bad_packs=len(bad_packs(catalog) & checked.keys()),
        spent_packs=len(spent_packs(catalog) & checked.keys()),
        oldest_read_ns=min((at for at, _ in checked.values()), default=0),
        sessions=tuple(list_sessions(store)),
    )
